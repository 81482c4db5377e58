"""The one reader of PEM files: certificates, private keys and revocation lists. Each fault names its file and remedy.

Every certificate of a file is returned, never the first alone: during a rotation a file holds the old and the new one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs7 import load_der_pkcs7_certificates
from cryptography.x509.oid import NameOID

from estelam.core.exceptions import UserFacingError, named_error
from estelam.core.key_types import key_type, works_with_tls

MAX_FILE_BYTES = 1 << 20
MAX_CRL_BYTES = 1 << 26

_LABELS = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_CRL_BLOCK = re.compile(rb"^-----BEGIN X509 CRL-----.*?^-----END X509 CRL-----", re.MULTILINE | re.DOTALL)
_CERTIFICATE_BEGIN = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATE_BLOCK = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n(?:[A-Za-z0-9+/=]+[ \t]*\r?\n)+-----END CERTIFICATE-----[ \t]*\r?$",
    re.MULTILINE,
)
"""A certificate, on lines of its own; what stands before, between and after is passed over."""
_CERTIFICATE_PARTS = "subject", "issuer", "extensions", "not_valid_before_utc", "not_valid_after_utc"
_CRL_PARTS = "issuer", "extensions", "last_update_utc", "next_update_utc"
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = b"\xff\xfe", b"\xfe\xff"


P = TypeVar("P", x509.Certificate, x509.CertificateRevocationList)


class KeyFileError(UserFacingError):
    """A key or certificate file can't be used."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key, its certificate and the certificates of the authorities between, as read from two files."""

    chain: tuple[x509.Certificate, ...]
    """The key's certificate first."""
    private_key: PrivateKeyTypes
    chain_pem: bytes
    private_key_pem: bytes

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.chain[0]


def name_text(name: x509.Name) -> str:
    """Return the text (RFC 4514) of a subject or issuer."""
    return name.rfc4514_string({NameOID.ORGANIZATION_IDENTIFIER: "organizationIdentifier"})


def parse_name(text: str) -> x509.Name:
    """Return the subject or issuer whose `name_text` is *text*.

    Raises:
        ValueError: it is no such name.
    """
    try:
        return x509.Name.from_rfc4514_string(text, {"organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER})
    except ValueError:
        raise ValueError("give the name as `estelam pki show --details FILE` prints it, as CN=authority") from None


def read_certificates(path: Path) -> tuple[x509.Certificate, ...]:
    """Return all certificates of a PEM file, in its order.

    Raises:
        KeyFileError: The file holds no certificate, or one that can't be read.
        OSError: The file can't be read.
    """
    return _parse_certificates(path, _read(path))


def read_trust(path: Path) -> bytes:
    """Return the PEM file of authorities; each of its certificates can be read.

    Raises:
        KeyFileError: The file holds no certificate, or one that can't be read.
        OSError: The file can't be read.
    """
    content = _read(path)
    _parse_certificates(path, content)
    return content


def read_private_key(path: Path) -> PrivateKeyTypes:
    """Return the one private key of a PEM file.

    Raises:
        KeyFileError: The file holds no private key, more than one, or one that can't be read.
        OSError: The file can't be read.
    """
    return _parse_private_key(path, _read(path))


def read_key_pair(certificate: Path, private_key: Path) -> KeyPair:
    """Return a certificate for TLS with its chain, and its key.

    Raises:
        KeyFileError: A file can't be used, the first certificate is not that of the key, or gRPC does not accept this
            kind of key.
        OSError: A file can't be read.
    """
    chain_pem, key_pem = _read(certificate), _read(private_key)
    chain, key = _parse_certificates(certificate, chain_pem), _parse_private_key(private_key, key_pem)
    public = key.public_key()
    if chain[0].public_key() != public:
        if any(link.public_key() == public for link in chain):
            raise KeyFileError(
                f"{certificate}: the certificate of the key {private_key} must stand first, its authorities after it"
            )
        raise KeyFileError(
            f"{private_key} is not the key of the certificate {certificate}: their public keys differ; compare"
            f" openssl pkey -in {private_key} -pubout with openssl x509 -in {certificate} -noout -pubkey"
        )
    if not works_with_tls(chain[0]):
        raise KeyFileError(
            f"{certificate}: TLS with gRPC does not accept {key_type(chain[0])} keys; use ECDSA P-256 or P-384, or RSA"
            f" 2048: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW.key"
        )
    return KeyPair(chain, key, chain_pem, key_pem)


def read_crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """Return all revocation lists of a file: one in DER, as authorities publish them, or any number in PEM.

    Raises:
        KeyFileError: The file holds no revocation list, or one that can't be read.
        OSError: The file can't be read.
    """
    content = _read(path, MAX_CRL_BYTES)
    count, blocks = _LABELS.findall(content).count(b"X509 CRL"), _CRL_BLOCK.findall(content)
    found = _parsed(x509.load_pem_x509_crl, _CRL_PARTS, blocks)
    if not count:
        found = _parsed(x509.load_der_x509_crl, _CRL_PARTS, [content])
    if not count and not found:
        raise KeyFileError(f"{path}: {_found(content, path)}, not a certificate revocation list")
    if len(found) != max(count, 1):
        raise KeyFileError(f"{path}: a certificate revocation list in it is damaged or cut off; fetch the file again")
    return found


def _read(path: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise KeyFileError(f"{path}: larger than {max_bytes} bytes")
    return content


def _parsed(parse: Callable[[bytes], P], parts: Sequence[str], blocks: Sequence[bytes]) -> tuple[P, ...]:
    """Return what *parse* makes of *blocks*; nothing if one is damaged, also in those *parts* that are parsed later."""
    try:
        found = tuple(map(parse, blocks))
        for one, part in product(found, parts):
            getattr(one, part)
    except Exception:  # noqa: BLE001 - the errors that a damaged block raises are of many classes, few of them documented
        return ()
    return found


def _parse_certificates(path: Path, content: bytes) -> tuple[x509.Certificate, ...]:
    blocks, count = _CERTIFICATE_BLOCK.findall(content), content.count(_CERTIFICATE_BEGIN)
    if count == 0 or (len(blocks) != count and content.startswith(_UTF8_BOM)):
        raise KeyFileError(f"{path}: {_found(content, path)}, not a certificate in PEM form")
    found = _parsed(x509.load_pem_x509_certificate, _CERTIFICATE_PARTS, blocks)
    # A block without its end, as in a file half written, would be left out without an error.
    if len(found) != count:
        raise KeyFileError(
            f"{path}: a certificate in it is damaged or cut off, or not on lines of its own; copy the file again"
        )
    return found


def _parse_private_key(path: Path, content: bytes) -> PrivateKeyTypes:
    labels = [label for label in _LABELS.findall(content) if label.endswith(b"PRIVATE KEY")]
    is_readable = labels and not content.startswith((_UTF8_BOM, *_UTF16_BOMS))
    if not is_readable or b"ENCRYPTED" in content or labels == [b"OPENSSH PRIVATE KEY"]:
        raise KeyFileError(f"{path}: {_found(content, path)}, not a private key in PEM form without a passphrase")
    if len(labels) > 1:
        raise KeyFileError(f"{path}: holds {len(labels)} private keys; keep the one of the certificate")
    with named_error(KeyFileError, f"{path}: the private key in it is damaged, or of an unknown kind"):
        return load_pem_private_key(content, password=None)


def _found(content: bytes, path: Path) -> str:
    """Return what *content* is instead of what was wanted, with the command that converts it."""
    if not content.strip():
        return "is empty"
    if content.startswith((_UTF8_BOM, *_UTF16_BOMS)):
        source = "UTF-8" if content.startswith(_UTF8_BOM) else "UTF-16"
        return f"begins with a byte order mark (remove it: iconv -c -f {source} -t ASCII {path} > NEW)"
    if content[:1] == b"\x30":
        return _found_in_der(content, path)
    labels = _LABELS.findall(content)
    if b"ENCRYPTED PRIVATE KEY" in labels or b"Proc-Type: 4,ENCRYPTED" in content:
        return f"has a passphrase (remove it: openssl pkey -in {path} -out NEW)"
    if any(label.endswith(b"PRIVATE KEY") for label in labels) and b"OPENSSH PRIVATE KEY" not in labels:
        return "is a private key"
    what, command = next((_OTHER_PEM[label] for label in _OTHER_PEM if label in labels), ("is no PEM file", ""))
    return what + (f" (convert it: {command.format(path=path)} > NEW)" if command else "")


_OTHER_PEM: Mapping[bytes, tuple[str, str]] = {
    b"PKCS7": ("is a PKCS#7 collection", "openssl pkcs7 -in {path} -print_certs"),
    b"TRUSTED CERTIFICATE": ("is a certificate with OpenSSL's trust settings", "openssl x509 -in {path}"),
    b"CERTIFICATE REQUEST": ("is a request for a certificate", ""),
    b"NEW CERTIFICATE REQUEST": ("is a request for a certificate", ""),
    b"OPENSSH PRIVATE KEY": ("is an OpenSSH key (make one: openssl genpkey)", ""),
    b"X509 CRL": ("is a certificate revocation list", ""),
    b"CERTIFICATE": ("is a certificate", ""),
    b"PUBLIC KEY": ("is a public key", ""),
}


def _found_in_der(content: bytes, path: Path) -> str:
    for parse, what, command in _DER_FORMS:
        try:
            parse(content)
        except TypeError:  # a key with a passphrase
            return f"is a key in DER form with a passphrase (convert it: openssl pkey -inform DER -in {path} -out NEW)"
        except Exception:  # noqa: BLE001, S112 - whatever it raises, the content is of another form
            continue
        return f"is {what} in DER form (convert it: openssl {command} -inform DER -in {path} -out NEW)"
    # A PFX begins with its version, which is 3 (RFC 7292); whether the rest can be read depends on its passphrase.
    if b"\x02\x01\x03" in content[:8]:
        return (
            f"is a PKCS#12 file (split it: openssl pkcs12 -in {path} -nodes -nocerts | openssl pkey -out NEW.key;"
            f" openssl pkcs12 -in {path} -nokeys -out NEW.crt)"
        )
    return "is no PEM file"


_DER_FORMS: tuple[tuple[Callable[[bytes], object], str, str], ...] = (
    (x509.load_der_x509_certificate, "a certificate", "x509"),
    (lambda content: load_der_private_key(content, None), "a private key", "pkey"),
    (load_der_pkcs7_certificates, "a PKCS#7 collection", "pkcs7 -print_certs"),
    (x509.load_der_x509_crl, "a certificate revocation list", "crl"),
)
