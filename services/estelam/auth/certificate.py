"""A client certificate, parsed: its fingerprint, the one organisation that it names, and its validity period."""

from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from estelam.core.clock import to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.model import Caller


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The parts of a client certificate that authentication needs."""

    fingerprint: str
    """SHA-256, hexadecimal."""
    organization_id: str | None
    """The 11-digit legal id; None unless the certificate names exactly one organisation."""
    not_before_micros: int
    not_after_micros: int
    parsed: x509.Certificate
    """The whole certificate."""

    def check_validity_period(self, now_micros: int) -> None:
        """Check that *now_micros* (microseconds since 1970) is within the validity period.

        Raises:
            Refusal: CERTIFICATE_EXPIRED.
        """
        if not self.not_before_micros <= now_micros <= self.not_after_micros:
            raise Refusal(Reason.CERTIFICATE_EXPIRED)

    def caller(self) -> Caller:
        """Return the organisation that this certificate identifies.

        Raises:
            Refusal: CERTIFICATE_UNUSABLE.
        """
        if self.organization_id is None:
            raise Refusal(Reason.CERTIFICATE_UNUSABLE)
        return Caller(self.organization_id, self.fingerprint)


@lru_cache(maxsize=1024)
def parse_certificate(pem: bytes) -> ClientCertificate:
    """Parse a PEM certificate. Its one organizationIdentifier (OID 2.5.4.97, 11 ASCII digits) names the caller.

    Raises:
        Refusal: CERTIFICATE_UNUSABLE.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    except ValueError:
        raise Refusal(Reason.CERTIFICATE_UNUSABLE) from None
    return ClientCertificate(
        certificate.fingerprint(SHA256()).hex(),
        _legal_id(str(names[0].value)) if len(names) == 1 else None,
        to_micros(certificate.not_valid_before_utc),
        to_micros(certificate.not_valid_after_utc),
        certificate,
    )


def _legal_id(text: str) -> str | None:
    return text if len(text) == 11 and text.isascii() and text.isdigit() else None
