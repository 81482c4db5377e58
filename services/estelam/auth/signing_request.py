"""Requests for a client certificate (PKCS #10): what an authority may issue a certificate for, and for whom."""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.x509.oid import NameOID

from estelam.core.exceptions import UserFacingError, named_error
from estelam.core.key_types import is_tls_key
from estelam.core.model_files import read_text

_DER = b"\x30"
"""The first byte of a request in DER, and of no request in PEM."""
_STRONG: tuple[type[HashAlgorithm], ...] = (SHA256, SHA384, SHA512)


class SigningRequestError(UserFacingError):
    """A request for a certificate can't be used."""


def read_signing_request(path: Path, organization_id: str) -> x509.CertificateSigningRequest:
    """Read the request (PEM) of the organisation *organization_id* for a client certificate.

    Its signature proves that its sender holds the private key, which is in no file that is handed over.

    Raises:
        SigningRequestError: the file holds anything but one such request, its signature is wrong, its key is of a kind
            that services do not accept, it names another organisation or several, or it asks for an authority's rights.
    """
    with path.open("rb") as file:
        is_der = file.read(1) == _DER
    if is_der:
        raise SigningRequestError(f"{path}: is DER, not PEM; convert it: openssl req -inform DER -in {path} -out NEW")
    text = read_text(path, SigningRequestError)
    if "PRIVATE KEY" in text:
        raise SigningRequestError(
            f"{path}: holds a private key, which must never leave its owner; make a new key, and send the request alone"
        )
    if text.count("-----BEGIN ") != 1:
        raise SigningRequestError(f"{path}: must hold one request for a certificate (PEM) and nothing else")
    with named_error(SigningRequestError, f"{path}: is no request for a certificate (PEM), or is damaged"):
        request = x509.load_pem_x509_csr(text.encode())
        if problem := _problem(request, organization_id):
            raise SigningRequestError(f"{path}: {problem}")
    return request


def _problem(request: x509.CertificateSigningRequest, organization_id: str) -> str | None:
    named = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)]
    if not is_tls_key(request.public_key()):
        return "its key must be ECDSA P-256 or P-384, or RSA with 2048 bits or more"
    if not isinstance(request.signature_hash_algorithm, _STRONG):
        return "it must be signed with SHA-256, SHA-384 or SHA-512"
    if not request.is_signature_valid:
        return "its signature is wrong: it does not prove that its sender holds the key"
    if named != [organization_id]:
        stated = ", ".join(named) or "none"
        return f"its subject must have the organizationIdentifier {organization_id}, once; it has {stated}"
    if _asks_for_authority(request):
        return "it asks for the rights of an authority (basicConstraints CA, or keyCertSign or cRLSign)"
    return None


def _asks_for_authority(request: x509.CertificateSigningRequest) -> bool:
    for extension in request.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            return True
        if isinstance(value, x509.KeyUsage) and (value.key_cert_sign or value.crl_sign):
            return True
    return False
