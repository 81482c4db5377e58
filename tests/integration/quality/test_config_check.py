"""`estelam quality check`: rules, agreements and monitor settings against the catalogue."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from development import sandbox as suite
from development.files import CATALOGUE
from development.processes import run_command
from development.sandbox import Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import Clock
from quality.monitor import config_check
from quality.settings import QualitySettings
from tests.integration.quality.conftest import CBI
from tests.integration.quality.monitored_services import probe_identity

PORTS = {"promissory": 1, "judiciary": 2, "setad": 3}


@pytest.fixture(scope="module")
def complete_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox in which every service has an address."""
    return suite.create_sandbox(tmp_path_factory.mktemp("whole"), ports=PORTS)


def agreeing(folder: Path, agreement: str) -> Path:
    """A copy of the catalogue with one agreement."""
    folder.mkdir()
    for file in CATALOGUE.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "agreements.yaml").write_text(f"agreements:\n  - {agreement}\n", "utf-8")
    return folder


AGREED = "{{ id: S01, service: {}, consumer: {}, since: 1405-01-01, rules: {}, reference: sample }}"


def problems(settings: QualitySettings, **overrides: object) -> str:
    """Problems of *settings* with *overrides*."""
    return "\n".join(config_check.find_problems(settings.model_copy(update=overrides), Clock()))


def test_files_of_a_reload(complete_sandbox: Sandbox, tmp_path: Path) -> None:
    """A reload checks that the files can be used; what only leaves a service unprobed does not refuse it."""
    settings, spoiled = complete_sandbox.quality(), tmp_path / "spoiled"
    spoiled.write_text("spoiled", "ascii")
    probe = settings.probe[0]
    changes: dict[str, dict[str, object]] = {
        "rules": {"rules": spoiled},
        f"probe.{probe.consumer}": {"probe": (probe.model_copy(update={"private_key": spoiled}),)},
        "ledger_certificates.promissory": {"ledger_certificates": {"promissory": spoiled}},
        "witness_key": {"witness_key": spoiled},
        "": {"addresses": {}},
    }
    found = {
        name: config_check.find_file_problems(settings.model_copy(update=change)) for name, change in changes.items()
    }

    assert [] == found.pop("")
    assert {name: [f"[quality] {name}: {spoiled}"] for name in found} == {
        name: [": ".join(problem.split(": ")[:2]) for problem in problems] for name, problems in found.items()
    }


def test_consistent_configuration(complete_sandbox: Sandbox) -> None:
    """A consistent configuration is valid and exits with 0."""
    done = run_command(complete_sandbox, "quality", "check", "--json")

    assert (0, '{"valid": true}\n', "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("service", "consumer", "rules", "words"),
    [
        ("note-verification", "setad", "gold", "quality.toml: an agreement names a set of rules that is missing: gold"),
        ("note-verification", "cbi", "note-standard", "agreements.yaml: S01: cbi has no grant for note-verification"),
        ("tax-debt", "cra", "note-standard", "agreements.yaml: S01: tax-debt is listed only, and not monitored here"),
    ],
)
def test_invalid_agreement(
    complete_sandbox: Sandbox, tmp_path: Path, service: str, consumer: str, rules: str, words: str
) -> None:
    """An agreement without rules, grant or monitored service is reported with its file."""
    catalogue = agreeing(tmp_path / "catalogue", AGREED.format(service, consumer, rules))

    assert words in problems(complete_sandbox.quality(), catalogue=catalogue)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"rules": Path("none.toml")}, "none.toml: can't be read: No such file"),
        ({"ledgers": {"x": "sqlite:///x"}}, "[quality] ledgers.x: no service of that name is provided here"),
        ({"ledger_certificates": {"x": Path("none.crt")}}, "[quality] ledger_certificates.x: none.crt: no such file"),
        ({"ledger_retired_keys": {"x": Path("none")}}, "[quality] ledger_retired_keys.x: no service of that name"),
        ({"witness_key": Path("none.key")}, "[quality] witness_key: none.key: no such file"),
        ({"addresses": {}}, "[quality] addresses: cheque-case-inquiry has no address, so it is not probed"),
        (
            {"probe_requests": {}},
            f"[quality] probe_requests: {suite.VERIFY_NOTE} has no request, so it is not probed",
        ),
        (
            {"probe_requests": {suite.CHECK_NOTE: {"seriel": "1"}}},
            f"[quality] probe_requests: the request of {suite.CHECK_NOTE} is not a valid CheckNoteRequest",
        ),
        ({"probe_requests": {"a.v1.B/C": {}}}, "[quality] probe_requests: a.v1.B/C is not a method of the catalogue"),
        ({"ca_certificates": None}, "[quality] ca_certificates: not set, so nothing is probed"),
    ],
)
def test_invalid_settings(complete_sandbox: Sandbox, overrides: dict[str, object], words: str) -> None:
    """An invalid monitor setting is reported with its key."""
    assert words in problems(complete_sandbox.quality(), **overrides)


@pytest.mark.parametrize(
    ("consumer", "certificate", "words"),
    [
        ("nobody", "cbi", "no consumer with a legal id is called nobody"),
        ("cbi", "setad", "setad.crt: the certificate names another organisation"),
        ("cbi", "none", "none.crt: no such file or directory"),
        ("cbi", "old", "old.crt: the certificate is not valid now"),
        ("cbi", "foreign", "foreign.crt: the certificate is no client's, or not from an authority in ca_certificates"),
    ],
)
def test_invalid_probe_certificate(
    complete_sandbox: Sandbox, tmp_path: Path, consumer: str, certificate: str, words: str
) -> None:
    """An unusable probe certificate is reported."""
    long_ago = datetime.now(UTC) - timedelta(days=400)
    DevCertificateAuthority(complete_sandbox.pki).issue("old", [CBI], since=long_ago, lifetime=timedelta(days=30))
    DevCertificateAuthority.create(tmp_path).issue("foreign", [CBI])
    folder = tmp_path if certificate == "foreign" else complete_sandbox.pki

    assert words in problems(
        complete_sandbox.quality(), probe=(probe_identity(consumer, folder / f"{certificate}.crt"),)
    )


def test_problem_exit_code(complete_sandbox: Sandbox, tmp_path: Path) -> None:
    """A problem exits with 1 and one line on stderr."""
    sandbox = suite.create_sandbox(tmp_path / "suite")
    done = run_command(sandbox, "quality", "check")

    assert (1, "") == (done.returncode, done.stdout)
    assert "[quality] addresses: note-verification has no address, so it is not probed\n" in done.stderr
