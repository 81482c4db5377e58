"""Offline check of a consumer's certificate: whether any service would reject it."""

from estelam.auth import trust
from estelam.auth.certificate import ClientCertificate
from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.pem import KeyFileError, read_certificates


def rejection_reason(identity: ClientIdentity, clock: Clock) -> str:
    """The reason for which every service must reject the certificate of *identity*; empty if it is usable."""
    try:
        verified(identity, clock).caller()
    except Refusal as refusal:
        return refusal.reason
    except (OSError, KeyFileError):
        return Reason.CERTIFICATE_UNUSABLE
    return ""


def verified(identity: ClientIdentity, clock: Clock) -> ClientCertificate:
    """Return the certificate of *identity*, verified as services do.

    Raises:
        Refusal: CERTIFICATE_UNUSABLE or CERTIFICATE_EXPIRED.
        KeyFileError: a file can't be used.
        OSError: a file can't be read.
    """
    between = read_certificates(identity.certificate)[1:]
    verify = trust.verifier(read_certificates(identity.ca_certificates), clock, between=between)
    return verify(identity.certificate.read_bytes())
