"""The reader of PEM files: each file that is of another form has its own message, which names it and the remedy."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.trust import ClientTrust
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.pem import KeyFileError, read_certificates, read_crls, read_key_pair, read_private_key
from estelam.core.tls import server_context
from quality.monitor import certificate_check

BOM = b"\xef\xbb\xbf"
PASSPHRASE = BestAvailableEncryption(b"secret")
KEY = generate_private_key(SECP256R1())


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    authority = DevCertificateAuthority.create(folder)
    for name in ("one", "two"):
        authority.issue(name, ["99001504616"], hosts=["localhost"])
    return folder


def p12(pki: Path) -> bytes:
    certificate, key = read_certificates(pki / "one.crt")[0], load_pem_private_key((pki / "one.key").read_bytes(), None)
    return serialize_key_and_certificates(b"one", key, certificate, None, PASSPHRASE)  # type: ignore[arg-type]


def p7b(pki: Path, encoding: Encoding) -> bytes:
    return serialize_certificates(list(read_certificates(pki / "one.crt")), encoding)


CERTIFICATES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "empty": ("is empty", lambda _pki: b"\n"),
    "byte order mark": ("iconv -c -f UTF-8", lambda pki: BOM + (pki / "one.crt").read_bytes()),
    "UTF-16": ("iconv -c -f UTF-16", lambda pki: (pki / "one.crt").read_text("ascii").encode("utf-16")),
    "DER": (
        "openssl x509 -inform DER -in",
        lambda pki: read_certificates(pki / "one.crt")[0].public_bytes(Encoding.DER),
    ),
    "PKCS#12": ("openssl pkcs12 -in", p12),
    "PKCS#7": ("openssl pkcs7 -in", lambda pki: p7b(pki, Encoding.PEM)),
    "PKCS#7 in DER": ("openssl pkcs7 -print_certs -inform DER", lambda pki: p7b(pki, Encoding.DER)),
    "a key": ("is a private key, not a certificate", lambda pki: (pki / "one.key").read_bytes()),
    "text": ("is no PEM file", lambda _pki: b"certificate\n"),
    "half a file": ("damaged or cut off", lambda pki: (pki / "one.crt").read_bytes()[:-40]),
    "one and a half": (
        "damaged or cut off",
        lambda pki: (pki / "one.crt").read_bytes() + (pki / "two.crt").read_bytes()[:-40],
    ),
}
KEYS: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "byte order mark": ("iconv -c -f UTF-8", lambda pki: BOM + (pki / "one.key").read_bytes()),
    "passphrase": (
        "has a passphrase (remove it: openssl pkey -in",
        lambda _pki: KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, PASSPHRASE),
    ),
    "old form with passphrase": (
        "has a passphrase (remove it: openssl pkey -in",
        lambda _pki: KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, PASSPHRASE),
    ),
    "DER": (
        "openssl pkey -inform DER -in",
        lambda _pki: KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    ),
    "DER with passphrase": (
        "in DER form with a passphrase",
        lambda _pki: KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, PASSPHRASE),
    ),
    "PKCS#12": ("openssl pkcs12 -in", p12),
    "a certificate": ("is a certificate, not a private key", lambda pki: (pki / "one.crt").read_bytes()),
    "a public key": (
        "is a public key, not a private key",
        lambda _pki: KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ),
    "OpenSSH": (
        "is an OpenSSH key",
        lambda _pki: KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    ),
    "two keys": ("holds 2 private keys", lambda pki: (pki / "one.key").read_bytes() + (pki / "two.key").read_bytes()),
    "half a file": ("damaged", lambda pki: (pki / "one.key").read_bytes()[:-40]),
}


@pytest.mark.parametrize("form", CERTIFICATES)
def test_certificate_in_another_form(pki: Path, tmp_path: Path, form: str) -> None:
    """A file that is no PEM file of certificates is refused with its name, what it is and how to convert it."""
    words, make = CERTIFICATES[form]
    file = tmp_path / "file"
    file.write_bytes(make(pki))
    with pytest.raises(KeyFileError) as refused:
        read_certificates(file)

    assert str(refused.value).startswith(f"{file}: ")
    assert words in str(refused.value)


@pytest.mark.parametrize("form", KEYS)
def test_key_in_another_form(pki: Path, tmp_path: Path, form: str) -> None:
    """A file that is no PEM file of one key without passphrase is refused with what it is and how to convert it."""
    words, make = KEYS[form]
    file = tmp_path / "file"
    file.write_bytes(make(pki))
    with pytest.raises(KeyFileError) as refused:
        read_private_key(file)
    with pytest.raises(KeyFileError) as refused_pair:
        server_context(pki / "one.crt", file, pki / "ca.crt")

    assert str(refused.value) == str(refused_pair.value)
    assert str(refused.value).startswith(f"{file}: ")
    assert words in str(refused.value)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
@pytest.mark.parametrize("form", ["DER", "PKCS#7"])
def test_remedy_works(pki: Path, tmp_path: Path, form: str) -> None:
    """The command in a message converts the file."""
    (tmp_path / "file").write_bytes(CERTIFICATES[form][1](pki))
    with pytest.raises(KeyFileError) as refused:
        read_certificates(tmp_path / "file")
    command = str(refused.value).partition("it: ")[2].partition(")")[0].replace("NEW", str(tmp_path / "new"))
    subprocess.run(["sh", "-c", command], check=True, timeout=60)

    assert read_certificates(pki / "one.crt") == read_certificates(tmp_path / "new")


def test_all_certificates(pki: Path, tmp_path: Path) -> None:
    """Every certificate of a file is read, with text between them and the line ends of Windows."""
    file = tmp_path / "both.crt"
    content = b"old:\n" + (pki / "one.crt").read_bytes() + b"\nnew:\n" + (pki / "two.crt").read_bytes()
    file.write_bytes(content.replace(b"\n", b"\r\n"))

    expected = (*read_certificates(pki / "one.crt"), *read_certificates(pki / "two.crt"))
    assert expected == read_certificates(file)


def test_mismatched_pair(pki: Path, tmp_path: Path) -> None:
    """A key of another certificate is refused with both names; so is a chain in the wrong order."""
    with pytest.raises(KeyFileError, match=r"two\.key is not the key of the certificate .*one\.crt.*openssl pkey"):
        read_key_pair(pki / "one.crt", pki / "two.key")
    turned = tmp_path / "turned.crt"
    turned.write_bytes((pki / "ca.crt").read_bytes() + (pki / "one.crt").read_bytes())
    with pytest.raises(KeyFileError, match=r"turned\.crt: the certificate of the key .*one\.key must stand first"):
        read_key_pair(turned, pki / "one.key")


def test_file_without_revocation_list(pki: Path) -> None:
    """A file that holds no revocation list is refused with what it is."""
    with pytest.raises(KeyFileError, match=r"one\.crt: is a certificate, not a certificate revocation list"):
        read_crls(pki / "one.crt")


def test_all_authorities(pki: Path, tmp_path: Path) -> None:
    """TLS of the HTTP listeners, the XFCC header's check and the monitor's trust every authority of a file."""
    other = DevCertificateAuthority.create(tmp_path / "other", "another authority")
    for folder in (pki, other.folder):
        DevCertificateAuthority(folder).issue("caller", ["99001504616"])
    both = tmp_path / "both.crt"
    both.write_bytes((pki / "ca.crt").read_bytes() + (other.folder / "ca.crt").read_bytes())
    clock = Clock()
    trust = ClientTrust(both, clock)
    for folder in (pki, other.folder):
        identity = ClientIdentity(folder / "caller.crt", folder / "caller.key", both)

        assert "" == certificate_check.rejection_reason(identity, clock)
        assert "99001504616" == trust.verify(identity.certificate.read_bytes()).organization_id
    assert 2 == len(server_context(pki / "one.crt", pki / "one.key", both).get_ca_certs())
