"""A verified client certificate: whom it names, what it is denied and revoked by, and when it is valid."""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from estelam.core.clock import to_micros
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import key_fingerprint
from estelam.core.model import Caller
from estelam.core.pem import name_text

IssuedSerial = tuple[str, int]
"""What a certificate is revoked by: the SHA-256 of its issuer's public key, and its serial number."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """The parts of a verified client certificate that authentication needs.

    None is the hash of the whole: the holder of a certificate can rewrite its issuer's ECDSA signature (r, s) as
    (r, n - s), which verifies as well.
    """

    key: str
    """SHA-256 of its public key (SubjectPublicKeyInfo), hexadecimal."""
    denial_names: frozenset[str]
    """What a deny list may name it by: its key, and its serial number with its issuer."""
    issued_serials: tuple[IssuedSerial, ...]
    """Its own, and that of each authority above it but the uppermost."""
    organization_id: str | None
    """The 11-digit legal id; None unless the certificate names exactly one organisation."""
    not_before_micros: int
    not_after_micros: int
    """The period in which the whole chain is valid."""

    @classmethod
    def of_chain(cls, chain: Sequence[x509.Certificate]) -> "ClientCertificate":
        """Return the first certificate of a verified *chain*, which ends with the uppermost authority.

        Its one organizationIdentifier (OID 2.5.4.97, 11 ASCII digits) names the caller.

        Raises:
            ValueError: a name can't be read.
        """
        leaf, keys = chain[0], [key_fingerprint(link.public_key()) for link in chain]
        named = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
        return cls(
            key=keys[0],
            denial_names=frozenset({keys[0], issued_name(name_text(leaf.issuer), leaf.serial_number)}),
            issued_serials=tuple((key, link.serial_number) for key, link in zip(keys[1:], chain, strict=False)),
            organization_id=_legal_id(str(named[0].value)) if len(named) == 1 else None,
            not_before_micros=max(to_micros(link.not_valid_before_utc) for link in chain),
            not_after_micros=min(to_micros(link.not_valid_after_utc) for link in chain),
        )

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
        return Caller(self.organization_id)


def issued_name(issuer: str, serial: int) -> str:
    """Return the text by which a deny list names the certificate with *serial* of *issuer* (RFC 4514)."""
    return f"{serial:x} of {issuer}"


def _legal_id(text: str) -> str | None:
    return text if len(text) == 11 and text.isascii() and text.isdigit() else None
