"""Offline check of a consumer's certificate: whether any service would reject it."""

from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from estelam.auth import certificate
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.pem import KeyFileError, read_certificates


def rejection_reason(identity: ClientIdentity, clock: Clock) -> str:
    """The reason for which every service must reject the certificate of *identity*; empty if it is usable."""
    try:
        pem = identity.certificate.read_bytes()
        found = certificate.parse_certificate(pem)
        found.caller()
        found.check_validity_period(clock.micros())
        trusted = _chain_is_trusted(
            read_certificates(identity.certificate), read_certificates(identity.ca_certificates)
        )
    except Refusal as refusal:
        return refusal.reason
    except (OSError, KeyFileError):
        return Reason.CERTIFICATE_UNUSABLE
    return "" if trusted else Reason.CERTIFICATE_UNUSABLE


def _chain_is_trusted(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> bool:
    """Whether *chain* ends at one of *authorities*."""
    links = all(_is_issuer(lower, upper) for lower, upper in pairwise(chain))
    return links and any(_is_issuer(chain[-1], authority) for authority in authorities)


def _is_issuer(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
