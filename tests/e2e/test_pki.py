"""`estelam pki show`: every certificate in the settings with its facts, and an exit code for what is wrong."""

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from development.sandbox import Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.inventory import USES
from estelam.cli.sections import section_kinds
from estelam.core.keys import SigningKey
from estelam.core.pem import read_certificates
from quality.settings import ProbeIdentity
from tests.e2e.conftest import CommandLine
from tests.support.certificates import DAY, NOW, certificate_pem, concatenate, crl_pem, write_retirement


@pytest.fixture
def show(sandbox: Sandbox) -> CommandLine:
    return CommandLine(sandbox, ("pki", "show"))


def problems(show: CommandLine, *arguments: str) -> list[str]:
    """The problems that the command states."""
    done = show(*arguments, "--json")
    found = [row["problem"] for row in done.json if row["problem"]]
    assert int(bool(found)) == done.code
    return found


def test_every_certificate(show: CommandLine, sandbox: Sandbox) -> None:
    """All sections of the file are shown; each certificate with its facts, as OpenSSL states them."""
    done = show("--json")
    row = next(row for row in done.json if (row["section"], row["use"]) == ("promissory", "tls"))
    certificate = read_certificates(sandbox.pki / "promissory-server.crt")[0]

    assert 0 == done.code
    assert {"promissory", "judiciary", "setad", "client", "quality"} == {row["section"] for row in done.json}
    assert str(sandbox.pki / "promissory-server.crt") == row["file"]
    assert (["99001504616"], "ECDSA P-256") == (row["organization_identifier"], row["key"])
    assert "organizationIdentifier=99001504616,CN=promissory-server" == row["subject"]
    assert f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}" == row["valid_until"]
    assert 364 == row["days_left"]
    uses = {(each["section"], each["name"]): each["use"] for each in done.json}
    assert ("tls", "client") == (uses["client", "promissory-server.crt"], uses["client", "setad.crt"])
    assert ("client", "client") == (uses["setad", "setad.crt"], uses["quality", "setad.crt"])
    if shutil.which("openssl"):
        printed = subprocess.run(
            ["openssl", "x509", "-in", row["file"], "-noout", "-fingerprint", "-sha256"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert printed.strip().rpartition("=")[2].replace(":", "").lower() == row["sha256"]


def test_text(show: CommandLine) -> None:
    """The text has a line for each certificate, or a block with --details; a wrong section is refused."""
    text, details, wrong = show("judiciary"), show("judiciary", "--details"), show("judicary")

    assert ["ca.crt", "judiciary-receipts.crt", "judiciary-server.crt"] == sorted(re.findall(r"[\w-]+\.crt", text.out))
    assert 7 == len(text.out.splitlines())
    assert 2 == details.out.count("\n\n")
    assert "key sha256" in details.out
    assert (2, "") == (wrong.code, wrong.out)
    assert "no file or section of the settings is named judicary; did you mean judiciary?" in wrong.err


def test_files(show: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """Files can be shown, without being in the settings: certificates, revocation lists, and what is neither."""
    pem = tmp_path / "list.pem"
    pem.write_bytes(crl_pem(sandbox.pki))
    files = [sandbox.pki / "setad.crt", pem, sandbox.pki / "setad.key"]
    rows = show(*map(str, files), "--json").json

    assert ["setad.crt", "list.pem", "setad.key"] == [row["name"] for row in rows]
    assert [364, None] == [rows[0]["days_left"], rows[2]["days_left"]]
    assert [None, None, True] == [row["problem"] and "is a private key" in row["problem"] for row in rows]
    assert (0, 1) == (show(str(files[0])).code, show(str(files[0]), "--days", "366").code)


@pytest.mark.parametrize("by", ["key", "issued", "certificate"])
def test_denied(show: CommandLine, sandbox: Sandbox, by: str) -> None:
    """With an access table each certificate is shown with whether it is denied: a certificate's hash denies none."""
    file = sandbox.pki / "setad.crt"
    (row,) = show(str(file), "--json").json
    line = {
        "key": f'key = "{row["key_sha256"]}"',
        "issued": f'issuer = "{row["issuer"]}"\nserial = "{row["serial"]}"',
        "certificate": f'key = "{row["sha256"]}"',
    }[by]
    sandbox.access.write_text(f"{sandbox.access.read_text('utf-8')}\n[[deny]]\n{line}\nreason = 'lost key'\n", "utf-8")
    rows = show(str(file), str(sandbox.pki / "cbi.crt"), "--access", str(sandbox.access), "--json").json

    assert [by != "certificate", False] == [each["denied"] for each in rows]


def test_certificate_without_an_end(show: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A certificate that is valid to RFC 5280's latest instant, which means no end, is shown without a problem."""
    public = read_certificates(sandbox.pki / "promissory-receipts.crt")[0].public_key()
    endless = tmp_path / "endless.crt"
    endless.write_bytes(certificate_pem(sandbox.pki, public, until=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)))
    text, details, as_json = (show(str(endless), *more) for more in ((), ("--details",), ("--json", "--days", "36500")))

    assert [(0, "")] * 3 == [(done.code, done.err) for done in (text, details, as_json)]
    assert "9999-12-31T23:59:59+00:00" in details.out
    assert "9999-12-31T23:59:59Z" == as_json.json[0]["valid_until"]
    assert (2, True) == ((wrong := show("--days", "36501")).code, "from 0 to 36,500" in wrong.err)


def test_expires_soon(show: CommandLine) -> None:
    """What expires within --days is a problem."""
    assert [] == problems(show, "setad", "--days", "363")
    assert ["expires in 364 days"] * 2 == problems(show, "setad", "--days", "365")


def issue(sandbox: Sandbox, name: str, **validity: Any) -> None:
    DevCertificateAuthority(sandbox.pki).issue(name, ["99001504616"], **validity)


def sign_until(sandbox: Sandbox, days: int) -> bytes:
    """A certificate of the promissory service's signing key that ends so many days from now."""
    public = read_certificates(sandbox.pki / "promissory-receipts.crt")[0].public_key()
    return certificate_pem(sandbox.pki, public, since=NOW - 90 * DAY, until=NOW + days * DAY)


def copy(sandbox: Sandbox, source: str, target: str) -> Path:
    return Path(shutil.copy(sandbox.pki / source, sandbox.pki / target))


FAULTS: dict[str, tuple[str, Callable[[Sandbox], object]]] = {
    "expired": ("has expired", lambda box: issue(box, "promissory-server", since=NOW - 9 * DAY, lifetime=DAY)),
    "not yet valid": ("is not valid yet", lambda box: issue(box, "promissory-server", since=NOW + 9 * DAY)),
    "mismatch": ("is not the key of the certificate", lambda box: copy(box, "setad.key", "promissory-server.key")),
    "missing": ("no such file", lambda box: (box.pki / "promissory-server.key").unlink()),
    "not PEM": ("is empty, not a certificate", lambda box: (box.pki / "promissory-server.crt").write_bytes(b"")),
    "kind of key": (
        "does not accept Ed25519 keys",
        lambda box: [copy(box, f"promissory-receipts.{one}", f"promissory-server.{one}") for one in ("crt", "key")],
    ),
    "signing expired": (
        "can't sign: the signing certificate was no longer valid at",
        lambda box: (box.pki / "promissory-receipts.crt").write_bytes(sign_until(box, -9)),
    ),
    "signing expires soon": (
        "can't sign: the signing certificate was no longer valid at",
        lambda box: (box.pki / "promissory-receipts.crt").write_bytes(sign_until(box, 9)),
    ),
    "signing key of another": (
        "no certificate of this key",
        lambda box: copy(box, "judiciary-receipts.key", "promissory-receipts.key"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(show: CommandLine, sandbox: Sandbox, fault: str) -> None:
    """Each fault is stated at its file, and the exit code is 1."""
    words, make = FAULTS[fault]
    make(sandbox)
    (problem,) = problems(show, "promissory")

    assert words in problem


def test_rotation(show: CommandLine, sandbox: Sandbox) -> None:
    """A signing certificate of the past beside the present one is no fault, for the service and for Setad."""
    file = sandbox.pki / "promissory-receipts.crt"
    concatenate(file, [sign_until(sandbox, -9), file])
    uses = [row["use"] for row in show("promissory", "--json").json]

    assert [] == problems(show, "promissory", "setad")
    assert 2 == uses.count("signing")


def test_retired_key(show: CommandLine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signing key that is retired is a fault of the service, and of who verifies with no other."""
    certificate = sandbox.pki / "promissory-receipts.crt"
    retired = write_retirement(sandbox.folder / "retired.json", certificate, NOW - DAY, "superseded")
    monkeypatch.setenv("ESTELAM_PROMISSORY_RETIRED_KEYS", str(retired))
    monkeypatch.setenv("ESTELAM_SETAD_PROVIDER_RETIRED_KEYS", str(retired))

    assert ["the signing key was retired at"] * 2 == [
        problem.partition(": ")[2].partition(": ")[2][:30] for problem in problems(show, "promissory", "setad")
    ]


def test_problem_stands_at_the_key_in_use(
    show: CommandLine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is wrong with the signing key in use is the problem of its certificate, whichever file is named first."""
    settings, other = sandbox.promissory(), sandbox.judiciary().signing_certificates[0]
    own = settings.signing_certificates[0]
    retired = write_retirement(sandbox.folder / "retired.json", own, NOW - DAY, "superseded")
    monkeypatch.setenv("ESTELAM_PROMISSORY_RETIRED_KEYS", str(retired))
    monkeypatch.setenv("ESTELAM_PROMISSORY_SIGNING_CERTIFICATES", f"{other}:{own}")
    rows = [row for row in show("promissory", "--json").json if row["use"] == "signing"]

    assert [(other.name, False), (own.name, True)] == [(row["name"], bool(row["problem"])) for row in rows]


def test_retirement_ends_the_use_of_a_key(sandbox: Sandbox, tmp_path: Path) -> None:
    """A key whose retirement is announced runs out then, and not with its certificate."""
    settings = sandbox.promissory()
    own = settings.signing_certificates[0]
    retired = write_retirement(tmp_path / "retired.json", own, NOW + DAY, "superseded")
    announced = SigningKey.load(settings.signing_key, [own], retired)

    assert (NOW + DAY).timestamp() - 1 == announced.expires_at < SigningKey.load(settings.signing_key, [own]).expires_at


def test_revocation_list(show: CommandLine, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revocation list is shown with its end; one that has run out, or is of no authority here, is a fault."""
    file = sandbox.folder / "ca.crl"
    monkeypatch.setenv("ESTELAM_SETAD_REVOCATION_LISTS", str(file))
    file.write_bytes(crl_pem(sandbox.pki))
    good = problems(show, "setad")
    file.write_bytes(crl_pem(sandbox.pki, until=NOW - timedelta(hours=1)))
    stale = problems(show, "setad")
    DevCertificateAuthority.create(sandbox.folder / "other", "another authority")
    file.write_bytes(crl_pem(sandbox.folder / "other"))
    (foreign,) = problems(show, "setad")

    assert ([], ["has expired"]) == (good, stale)
    assert "which is not in ca_certificates" in foreign


def test_no_setting_is_left_out() -> None:
    """Every setting that names certificates or revocation lists is shown, with its key."""
    models: list[type[BaseModel]] = [*section_kinds().values(), ProbeIdentity]
    of_certificates = re.compile("(?!kept_).*(certificate|revocation)")  # what is kept is the times of lists
    named = {name for model in models for name in model.model_fields if of_certificates.match(name)}
    keys = {name for model in models for name in model.model_fields if name.endswith("_key")}

    assert named == USES.keys()
    assert keys - {"witness_key"} == {use.key for use in USES.values() if use.key}  # a witness has no certificate


def test_without_settings(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a settings file the command states so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESTELAM_CONFIG", raising=False)
    done = CommandLine(Sandbox(tmp_path), ("pki", "show"))()

    assert 1 == done.code
    assert "Traceback" not in done.err
