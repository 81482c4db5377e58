"""Who asks: the one organisation that the TLS connection's client certificate names."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from estelam.core.errors import Reason

from .words import Declined


@dataclass(frozen=True)
class Caller:
    """An organisation and the certificate that it showed."""

    organization: str
    fingerprint: str


def identify(certificate: bytes | None, now: datetime, *, forwarded: bool) -> Caller:
    """The caller who showed *certificate* (DER); who speaks for another, by a forwarded one, is nobody's proxy."""
    if certificate is None or forwarded:
        raise Declined(Reason.CERTIFICATE_UNUSABLE)
    try:
        shown = x509.load_der_x509_certificate(certificate)
        names = [str(name.value) for name in shown.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)]
    except ValueError:
        raise Declined(Reason.CERTIFICATE_UNUSABLE) from None
    if len(names) != 1 or not legal_id(names[0]):
        raise Declined(Reason.CERTIFICATE_UNUSABLE)
    if not shown.not_valid_before_utc <= now <= shown.not_valid_after_utc:
        raise Declined(Reason.CERTIFICATE_EXPIRED)
    return Caller(names[0], hashlib.sha256(certificate).hexdigest())


def legal_id(text: str) -> bool:
    """Whether it is a legal person's id of 11 ASCII digits."""
    return len(text) == 11 and all("0" <= letter <= "9" for letter in text)
