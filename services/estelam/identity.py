"""Who asks: the one organisation that the caller's certificate names."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from grpc.aio import ServicerContext

from estelam.clock import to_micros
from estelam.errors import Reason, Refusal
from estelam.vocabulary import Caller


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, read."""

    caller: Caller
    not_before_micros: int
    not_after_micros: int


def identify(context: ServicerContext[Any, Any], now_micros: int) -> Caller:
    """The organisation whose trusted certificate this connection was opened with.

    TLS has checked the chain. The dates are checked again here, since a connection outlives its handshake.

    Raises:
        Refusal: CERTIFICATE_UNUSABLE or CERTIFICATE_EXPIRED.
    """
    certificates = list(context.auth_context().get("x509_pem_cert", ()))
    if len(certificates) != 1:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    credential = read(certificates[0])
    if not credential.not_before_micros <= now_micros <= credential.not_after_micros:
        raise Refusal(Reason.CERTIFICATE_EXPIRED)
    return credential.caller


@lru_cache(maxsize=1024)
def read(pem: bytes) -> Credential:
    """The caller that a PEM certificate names in its one organizationIdentifier (OID 2.5.4.97, 11 ASCII digits).

    Raises:
        Refusal: CERTIFICATE_UNUSABLE.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    except ValueError:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE) from None
    if len(names) != 1:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    organization_id = str(names[0].value)
    if not (len(organization_id) == 11 and organization_id.isascii() and organization_id.isdigit()):
        raise Refusal(Reason.CERTIFICATE_UNUSABLE)
    return Credential(
        Caller(organization_id, certificate.fingerprint(SHA256()).hex()),
        to_micros(certificate.not_valid_before_utc),
        to_micros(certificate.not_valid_after_utc),
    )
