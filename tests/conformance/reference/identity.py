"""Authentication: the one organisation in the client certificate of the TLS connection."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from estelam.core.errors import Reason

from .refusal import Refused

SPKI = PublicFormat.SubjectPublicKeyInfo


@dataclass(frozen=True)
class Caller:
    """An organisation and the SHA-256 of its certificate's public key."""

    organization: str
    key: str


def authenticate(certificate: bytes | None, now: datetime, *, forwarded: bool) -> Caller:
    """Return the caller with *certificate* (DER); a forwarded certificate is refused, since no proxy is trusted."""
    if certificate is None or forwarded:
        raise Refused(Reason.CERTIFICATE_UNUSABLE)
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        names = [str(name.value) for name in parsed.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)]
    except ValueError:
        raise Refused(Reason.CERTIFICATE_UNUSABLE) from None
    if len(names) != 1 or not is_legal_id(names[0]):
        raise Refused(Reason.CERTIFICATE_UNUSABLE)
    if not parsed.not_valid_before_utc <= now <= parsed.not_valid_after_utc:
        raise Refused(Reason.CERTIFICATE_EXPIRED)
    return Caller(names[0], hashlib.sha256(parsed.public_key().public_bytes(Encoding.DER, SPKI)).hexdigest())


def is_legal_id(text: str) -> bool:
    """Return whether *text* is a legal person's id of 11 ASCII digits."""
    return len(text) == 11 and all("0" <= letter <= "9" for letter in text)
