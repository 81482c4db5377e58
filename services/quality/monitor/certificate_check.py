"""What is wrong with the certificate that a consumer shows, as far as it tells by itself."""

from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from estelam.auth import certificate
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal


def rejection_reason(identity: ClientIdentity, clock: Clock) -> str:
    """The reason for which any service must turn the certificate of *identity* away; empty where it can be used."""
    try:
        shown = identity.certificate.read_bytes()
        found = certificate.parse_certificate(shown)
        found.caller()
        found.check_validity_period(clock.micros())
        trusted = _chain_is_trusted(shown, identity.ca_certificates.read_bytes())
    except Refusal as refusal:
        return refusal.reason
    except (OSError, ValueError):
        return Reason.CERTIFICATE_UNUSABLE
    return "" if trusted else Reason.CERTIFICATE_UNUSABLE


def _chain_is_trusted(shown: bytes, trust: bytes) -> bool:
    """Whether the chain *shown* leads to an authority of *trust*."""
    chain = x509.load_pem_x509_certificates(shown)
    links = all(_is_issuer(lower, upper) for lower, upper in pairwise(chain))
    return links and any(_is_issuer(chain[-1], authority) for authority in x509.load_pem_x509_certificates(trust))


def _is_issuer(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
