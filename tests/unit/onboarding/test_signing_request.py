"""A certificate is issued only for a request of the organisation itself, for a key that services accept."""

import base64
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP521R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.auth.signing_request import SigningRequestError, read_signing_request
from estelam.core.keys import key_fingerprint
from tests.unit.onboarding.conftest import BANK, Exchange, signing_request

KEY_USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


SIGNED_WITH_SHA256, SIGNED_WITH_SHA224 = b"\x2a\x86\x48\xce\x3d\x04\x03\x02", b"\x2a\x86\x48\xce\x3d\x04\x03\x01"
"""The algorithms of an ECDSA signature, in DER."""


def rewritten(old: bytes, new: bytes) -> bytes:
    """A request that was changed after it was signed, by somebody who need not hold the key."""
    body = base64.b64decode(b"".join(signing_request()[1].splitlines()[1:-1])).replace(old, new)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(body) + b"-----END CERTIFICATE REQUEST-----\n"


def with_key() -> bytes:
    """A request with its private key."""
    key, csr = signing_request()
    return csr + bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def in_der() -> bytes:
    """A request as Windows writes it."""
    return x509.load_pem_x509_csr(signing_request()[1]).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("csr", "problem"),
    [
        (lambda: signing_request(["99001187852"])[1], "organizationIdentifier 99000079195, once; it has 99001187852"),
        (lambda: signing_request([])[1], "it has none"),
        (lambda: signing_request([BANK, "99001187852"])[1], f"it has {BANK}, 99001187852"),
        (lambda: signing_request([BANK, BANK])[1], "once"),
        (lambda: signing_request(key=generate_private_key(SECP521R1()))[1], "its key must be"),
        (lambda: signing_request(key=rsa.generate_private_key(65537, 1024))[1], "its key must be"),  # noqa: S505 - refused
        (lambda: signing_request(extension=x509.BasicConstraints(ca=True, path_length=None))[1], "an authority"),
        (lambda: signing_request(extension=KEY_USAGE)[1], "an authority"),
        (lambda: rewritten(SIGNED_WITH_SHA256, SIGNED_WITH_SHA224), "SHA-256"),
        (lambda: rewritten(b"sample-bank", b"simple-bank"), "its signature is wrong"),
        (with_key, "holds a private key"),
        (lambda: signing_request()[1] * 2, "must hold one request"),
        (lambda: b"", "must hold one request"),
        (in_der, "is DER, not PEM; convert it: openssl req -inform DER"),
        (lambda: b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "or is damaged"),
    ],
)
def test_refused_requests(tmp_path: Path, csr: Callable[[], bytes], problem: str) -> None:
    """A request of another or of no organisation, of a weak key, without proof of the key, or for an authority."""
    path = tmp_path / "client.csr"
    path.write_bytes(csr())

    with pytest.raises(SigningRequestError, match=problem):
        read_signing_request(path, BANK)


def test_nothing_is_taken_over(exchange: Exchange) -> None:
    """The certificate has the key and the organisation of the request, and no extension that it asks for."""
    asked = x509.SubjectAlternativeName([x509.DNSName("estelam.example")])
    key, csr = signing_request(extension=asked)
    (exchange.folder / "client.csr").write_bytes(csr)

    assert 0 == exchange.request().code
    exchange.approve()
    assert 0 == exchange.step("issue", "--ca", exchange.sandbox.pki).code

    found = x509.load_pem_x509_certificate((exchange.dossier / "client.crt").read_bytes())
    assert key_fingerprint(key.public_key()) == key_fingerprint(found.public_key())
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        found.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_certificate_of_another_authority(exchange: Exchange) -> None:
    """A certificate that another authority issued is taken if it is of the request's key, and of no other."""
    authority = DevCertificateAuthority(exchange.sandbox.pki)
    other = authority.issue_for(x509.load_pem_x509_csr(signing_request()[1]), BANK, lifetime=timedelta(days=30))
    assert 0 == exchange.request().code
    exchange.approve()
    csr = x509.load_pem_x509_csr((exchange.dossier / "client.csr").read_bytes())
    right = authority.issue_for(csr, BANK, lifetime=timedelta(days=30))
    path = exchange.folder / "given.crt"

    path.write_bytes(other.public_bytes(Encoding.PEM))
    refused = exchange.step("issue", "--certificate", path)
    path.write_bytes(right.public_bytes(Encoding.PEM))
    taken = exchange.step("issue", "--certificate", path)

    assert (2, 0) == (refused.code, taken.code)
    assert "is of another key than the request" in refused.err
