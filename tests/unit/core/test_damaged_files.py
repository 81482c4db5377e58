"""Each reader of a file raises one error, an operator's, whatever the file holds."""

import base64
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conformance import known_failures
from development.sandbox import Sandbox
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.grants import AccessTable
from estelam.auth.inventory import file_inventory
from estelam.auth.revocation import read_lists
from estelam.auth.trust import verifier
from estelam.catalogue.loader import read_catalogue
from estelam.core import keyring_file
from estelam.core.addresses import check_url
from estelam.core.clock import Clock
from estelam.core.errors import Refusal
from estelam.core.exceptions import UserFacingError
from estelam.core.keys import RetirementList
from estelam.core.note_keys import KeyKind, read_keys
from estelam.core.pem import read_certificates, read_crls, read_private_key
from estelam.core.settings import load_settings
from estelam.core.settings_file import CONFIG
from estelam.loading.formats import text
from estelam.loading.manifest import read_manifest
from estelam.loading.reader import batches
from estelam.pipeline.outages import OutageTable
from promissory.settings import PromissorySettings
from quality import slo
from tests.support.certificates import crl_pem
from tools.env.repository import ROOT

DIGITS = "9" * 5000
PEM = re.compile(rb"(-----BEGIN [A-Z0-9 ]+-----\n)(.*?)(-----END [A-Z0-9 ]+-----\n)", re.DOTALL)
CATALOGUE = read_catalogue(ROOT / "catalogue")
NOW = Clock().now()


def settings(path: Path) -> object:
    return load_settings(PromissorySettings, environ={CONFIG: str(path)})


def catalogue(path: Path) -> object:
    folder = path.with_name("catalogue")
    shutil.copytree(ROOT / "catalogue", folder, dirs_exist_ok=True)
    shutil.copy(path, folder / "grants.yaml")
    return read_catalogue(folder)


READERS: dict[str, Callable[[Path], object]] = {
    "settings": settings,
    "access": AccessTable.load,
    "catalogue": catalogue,
    "outages": OutageTable.load,
    "objectives": partial(slo.read, catalogue=CATALOGUE),
    "known failures": known_failures.read,
    "manifest": partial(read_manifest, signers={}),
    "retired keys": RetirementList.load,
    "keyring": keyring_file.read,
    "verifier keys": partial(read_keys, kind=KeyKind.NOTE),
    "certificates": read_certificates,
    "private key": read_private_key,
    "revocation lists": read_crls,
    "inventory": lambda path: list(file_inventory(path, NOW, 30)),
    "data": lambda path: list(batches(path, {"a": text()})),
}
CONTENTS = {
    "empty": b"",
    "binary": bytes(range(256)),
    "not UTF-8": b"a = '\xff\xfe'\n",
    "surrogate": b'{"a": "\xed\xa0\x80", "\\ud800": 1}',
    "brackets": b"a = " + b"[" * 100_000,
    "braces": b'{"a":' * 100_000,
    "flow": b"a: " + b"[" * 5_000 + b"]" * 5_000,
    "block": b"- " * 5_000 + b"a",
    "parts": b"[" + b"a." * 20_000 + b"b]\n",
    "a number in TOML": f"a = {DIGITS}\n".encode(),
    "a number in YAML": f"grants: [{{quota: {{rate: {DIGITS}}}}}]\n".encode(),
    "a number in JSON": f'{{"number": {DIGITS}}}'.encode(),
    "a quota": f"[[grant]]\nquota = {{rate = {DIGITS}}}\n".encode(),
    "a shorter quota": f"[[grant]]\nquota = {{rate = {DIGITS[:4000]}, burst = {DIGITS[:4000]}}}\n".encode(),
    "a drain time": f"[promissory]\ndrain_seconds = {DIGITS}\nmax_staleness = {DIGITS[:4000]}\n".encode(),
    "shorter times": f"[promissory]\ndrain_seconds = {DIGITS[:400]}\nmax_staleness = {DIGITS[:400]}\n".encode(),
    "a NUL in a path": b'[promissory]\nsigning_key = "a\\u0000b"\nhmac_keyring = 1979-05-27T07:32:00Z\n',
    "dates": b"[[outage]]\nfrom = 0001-01-01T00:00:00+23:59\nuntil = 9999-12-31T23:59:59-23:59\n",
    "no PEM": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "a key without end": b"1404 " + b"f" * 63 + b"\n",
}


def problem(read: Callable[[], object], otherwise: str) -> str:
    """Return the text of the operator's error that *read* raises; *otherwise*, if it raises none."""
    try:
        read()
    except UserFacingError as error:
        return str(error)
    return otherwise


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_any_content(tmp_path: Path, reader: str, content: str) -> None:
    """Whatever a file holds, its reader returns, or raises an error for the operator that names the file."""
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[content])

    assert str(tmp_path) in problem(partial(READERS[reader], path), str(tmp_path))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    DevCertificateAuthority.create(folder).issue("one", ["99001504616"])
    (folder / "ca.crl").write_bytes(crl_pem(folder, [folder / "one.crt"]))
    return folder


def damaged(content: bytes, step: int) -> Iterator[bytes]:
    """Yield *content* with each *step*-th byte changed in several ways, and cut off there."""
    for position in range(0, len(content), step):
        for mask in (0x01, 0x06, 0x80, 0xFF):
            yield content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :]
        yield content[:position]


def damaged_pem(content: bytes) -> Iterator[bytes]:
    """Yield the PEM *content* with each byte of its DER damaged."""
    found = PEM.fullmatch(content)
    assert found
    for der in damaged(base64.b64decode(found[2]), 1):
        yield found[1] + base64.encodebytes(der) + found[3]


@pytest.mark.parametrize("name", ["one.crt", "one.key", "ca.crl"])
def test_damaged_pem(pki: Path, tmp_path: Path, name: str) -> None:
    """A certificate, key or revocation list with any byte changed is read, or refused by name, by all that use it."""
    path = tmp_path / name
    readers: dict[str, Callable[[], object]] = {
        ".crt": lambda: read_certificates(path),
        ".key": lambda: read_private_key(path),
        ".crl": lambda: read_lists([path], read_certificates(pki / "ca.crt")),
    }
    for content in damaged_pem((pki / name).read_bytes()):
        path.write_bytes(content)
        assert str(path) in problem(readers[path.suffix], str(path))
        list(file_inventory(path, NOW, 30))


def test_damaged_client_certificate(pki: Path) -> None:
    """A client certificate with any byte changed is refused, or is the same one; it never fails the call."""
    verify = verifier(read_certificates(pki / "ca.crt"), Clock())
    original = (pki / "one.crt").read_bytes()

    accepted = {verify(original)}
    for content in damaged_pem(original):
        with suppress(Refusal):
            accepted.add(verify(content))

    assert accepted == {verify(original)}


def test_damaged_parquet(tmp_path: Path) -> None:
    """A Parquet file with any byte changed is read, or refused by name: also one whose column is not UTF-8."""
    path = tmp_path / "data.parquet"
    pq.write_table(pa.table({"a": ["one", "two"], "näme": ["", ""]}), path)
    original = path.read_bytes()
    for content in (original.replace("ä".encode(), b"\xff\xff"), *damaged(original, 7)):
        path.write_bytes(content)
        assert str(path) in problem(lambda: list(batches(path, {"a": text()})), str(path))


@pytest.mark.parametrize(
    "url", [f"https://host:{DIGITS}/", "https://host:x/", "https://[::1/", "https://host:/", "https://h:65536"]
)
def test_url_with_another_port(url: str) -> None:
    """An address whose port is no number from 1 to 65535 is refused in our words."""
    with pytest.raises(ValueError, match=r"the port must be a number|must be http://HOST:PORT/PATH"):
        check_url(url)


def test_settings_of_service_stay(sandbox: Sandbox) -> None:
    """Settings that can't be read raise the error by which a service goes on with its last ones."""
    path = sandbox.folder / "estelam.toml"
    path.write_text(path.read_text("utf-8") + f"[witness]\nport = {DIGITS}\n", "utf-8")

    with pytest.raises(UserFacingError, match="a number has too many digits"):
        settings(path)
