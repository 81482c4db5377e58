"""Manifests: what they declare is checked, and their signatures are verified."""

import json
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.parties import Parties
from estelam.core.pem import KeyFileError
from estelam.loading import manifest
from estelam.loading.errors import LoadError
from estelam.loading.manifest import manifest_path, read_manifest, signature_path

CONTENT: dict[str, Any] = {
    "feed": "cases",
    "number": 7,
    "kind": "delta",
    "cut_at": datetime.now(UTC).isoformat(),
    "rows": 2,
    "sha256": "0" * 64,
}


def written(folder: Path, **fields: Any) -> Path:
    path = folder / "cases.csv.manifest.json"
    content = {name: value for name, value in (CONTENT | fields).items() if value is not None}
    path.write_text(json.dumps(content), "utf-8")
    return path


@pytest.fixture
def signer(tmp_path: Path) -> Path:
    """A folder with court.crt and court.key, made for signing."""
    DevCertificateAuthority.create(tmp_path / "pki").issue_signing(
        "court", "99000633527", since=datetime.now(UTC) - timedelta(days=1)
    )
    return tmp_path / "pki"


def test_content_is_what_it_declares(tmp_path: Path) -> None:
    """A manifest that was written is read as the same one; dates of both calendars are taken."""
    path = written(
        tmp_path,
        cut_at="1405-08-01T00:00+03:30",
        complete_since="1400-01-01",
        tracking_since="2022-03-21",
        parties="replaced",
    )

    found = read_manifest(path, {})

    assert (found.feed, found.number, found.whole, found.rows) == ("cases", 7, False, 2)
    assert found.declaration().cut_at == datetime(2026, 10, 22, 20, 30, tzinfo=UTC)
    assert (found.complete_since, found.tracking_since) == (date(2021, 3, 21), date(2022, 3, 21))
    assert found.declaration().parties is Parties.REPLACED
    path.write_bytes(b"\xef\xbb\xbf" + found.content())
    assert read_manifest(path, {}) == found


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("feed", None, "feed: is missing; give the feed's name, 1 to 64 of"),
        ("feed", "two words", "feed: give 1 to 64 of"),
        ("number", 0, "number: must be the file's number in the feed, a whole number from 1 to"),
        ("number", "second", "number: must be the file's number"),
        *(
            ("number", value, "number: must be the file's number in the feed, a whole number from 1 to 2147483647")
            for value in ([1], True, 2.0, "2.0", "1e3", "-1", "1_2", "+2", "2,000", 2**31, 10**30, "9" * 30)
        ),
        *(("rows", value, "rows: must be the number of rows") for value in (False, 1.0, 2**63, 10**30, "1,000")),
        ("cut_at", 5, "cut_at: is not an instant"),
        ("kind", "partial", "kind: must be whole or delta"),
        ("cut_at", "1405-09-09T12:00", "cut_at: has no time zone"),
        ("cut_at", "now", "cut_at: is not an instant"),
        ("complete_since", "1299-12-29", "complete_since: is before 1300-01-01"),
        ("complete_since", "2199-01-01", "complete_since: is after today"),
        ("tracking_since", "99-01-01", "tracking_since: "),
        ("parties", "some", "parties: must be merged or replaced"),
        ("rows", -1, "rows: must be the number of rows"),
        ("sha256", "00", "sha256: must be the SHA-256 of the data file"),
        ("through", "now", "through: unknown key; the keys are feed, number, kind"),
    ],
)
def test_wrong_field_is_refused(tmp_path: Path, field: str, value: Any, message: str) -> None:
    """A field that is missing, unknown or can't be meant is refused by its name."""
    path = written(tmp_path, **{field: value})

    with pytest.raises(LoadError) as raised:
        read_manifest(path, {})

    assert str(raised.value).startswith(f"{path}: {message}")


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    """A key that is given twice is refused by its name, also with one value: what was meant is not known."""
    path = written(tmp_path)
    for again in ("number", "kind"):
        path.write_text(json.dumps(CONTENT)[:-1] + f', "{again}": {json.dumps(CONTENT[again])}}}', "utf-8")

        with pytest.raises(LoadError) as raised:
            read_manifest(path, {})
        assert str(raised.value) == f"{path}: {again}: is given twice; give each key once"


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"\xff\xfe", b" " * (manifest.MAX_BYTES + 1), b"[" * 40_000, b'{"number": NaN}']
)
def test_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no manifest is refused with its path."""
    path = tmp_path / "cases.csv.manifest.json"
    path.write_bytes(content)

    with pytest.raises(LoadError, match=path.name):
        read_manifest(path, {})


def test_signature_is_verified(tmp_path: Path, signer: Path) -> None:
    """Where a feed has a signer, its manifest needs the signature of these bytes by that key; other feeds need none."""
    path, signers = written(tmp_path), {"cases": signer / "court.crt"}
    with pytest.raises(LoadError, match="require a signature"):
        read_manifest(path, signers)
    assert read_manifest(path, {"notes": signer / "court.crt"}).number == 7

    signature_path(path).write_bytes(manifest.sign(path.read_bytes(), signer / "court.key"))
    assert read_manifest(path, signers).number == 7

    written(tmp_path, number=8)
    with pytest.raises(LoadError, match="is not the signature of the manifest"):
        read_manifest(path, signers)


def test_a_take_over_needs_a_signature(tmp_path: Path, signer: Path) -> None:
    """A file that takes over a signed feed has a manifest signed by its own feed's signer, or else by that one's."""
    certificate, path = signer / "court.crt", written(tmp_path)
    other = DevCertificateAuthority.create(tmp_path / "other")
    other.issue_signing("court", "99000633527", since=datetime.now(UTC) - timedelta(days=1))
    taken = {"cases-b": certificate}
    with pytest.raises(LoadError, match="the settings require a signature by the signer of cases-b"):
        read_manifest(path, taken, taken_feed="cases-b")
    assert read_manifest(path, taken, taken_feed="cases-c").number == 7

    signature_path(path).write_bytes(manifest.sign(path.read_bytes(), signer / "court.key"))

    assert read_manifest(path, taken, taken_feed="cases-b").number == 7
    own = {"cases": certificate, "cases-b": tmp_path / "other" / "court.crt"}
    assert read_manifest(path, own, taken_feed="cases-b").number == 7
    with pytest.raises(LoadError, match="is not the signature of the manifest"):
        read_manifest(path, {"cases-b": tmp_path / "other" / "court.crt"}, taken_feed="cases-b")


def test_signature_by_openssl(tmp_path: Path, signer: Path) -> None:
    """A source can sign with openssl."""
    path = written(tmp_path)
    openssl = shutil.which("openssl")
    assert openssl
    files = {"-inkey": signer / "court.key", "-in": path, "-out": signature_path(path)}
    options = [str(each) for option in files.items() for each in option]

    subprocess.run([openssl, "pkeyutl", "-sign", "-rawin", *options], check=True, capture_output=True)

    assert read_manifest(path, {"cases": signer / "court.crt"}).number == 7


def test_certificate_must_be_valid_at_the_cut_off(tmp_path: Path, signer: Path) -> None:
    """A signature for a cut-off outside the validity of the signer's certificate is refused."""
    path = written(tmp_path, cut_at=(datetime.now(UTC) - timedelta(days=4000)).isoformat())
    signature_path(path).write_bytes(manifest.sign(path.read_bytes(), signer / "court.key"))

    with pytest.raises(LoadError, match="is not valid: the signing certificate was not yet valid"):
        read_manifest(path, {"cases": signer / "court.crt"})


def test_other_keys_sign_nothing(signer: Path) -> None:
    """A key that is not Ed25519 is refused."""
    with pytest.raises(KeyFileError, match="not an Ed25519 private key"):
        manifest.sign(b"", signer / "ca.key")


def test_hash_in_capitals_is_read(tmp_path: Path) -> None:
    """The SHA-256 may have capitals, as PowerShell writes it."""
    assert "0a" * 32 == read_manifest(written(tmp_path, sha256="0A" * 32), {}).sha256


def test_persian_digits_are_read(tmp_path: Path) -> None:
    """A number may be a text in Persian digits."""
    found = read_manifest(written(tmp_path, number="۱۲", rows="۲"), {})

    assert (found.number, found.rows) == (12, 2)


def test_a_manifest_is_beside_its_file(tmp_path: Path) -> None:
    """The path of a manifest is that of its file with an ending."""
    assert manifest_path(tmp_path / "cases.csv").name == "cases.csv.manifest.json"
