"""Offline check of a consumer's certificate: whether any service would reject it."""

from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from estelam.auth import certificate
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal


def rejection_reason(identity: ClientIdentity, clock: Clock) -> str:
    """The reason for which every service must reject the certificate of *identity*; empty if it is usable."""
    try:
        pem = identity.certificate.read_bytes()
        found = certificate.parse_certificate(pem)
        found.caller()
        found.check_validity_period(clock.micros())
        trusted = _chain_is_trusted(pem, identity.ca_certificates.read_bytes())
    except Refusal as refusal:
        return refusal.reason
    except (OSError, ValueError):
        return Reason.CERTIFICATE_UNUSABLE
    return "" if trusted else Reason.CERTIFICATE_UNUSABLE


def _chain_is_trusted(pem: bytes, authorities: bytes) -> bool:
    """Whether the chain *pem* ends at one of *authorities* (PEM)."""
    chain = x509.load_pem_x509_certificates(pem)
    links = all(_is_issuer(lower, upper) for lower, upper in pairwise(chain))
    return links and any(_is_issuer(chain[-1], authority) for authority in x509.load_pem_x509_certificates(authorities))


def _is_issuer(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
