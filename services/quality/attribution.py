"""Attribution of failed inquiries: which party each reason of the error catalogue is counted to."""

from enum import StrEnum

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason


class Attribution(StrEnum):
    """The party, or the separate category, that a failure is counted to."""

    PROVIDER = "provider"
    EXCHANGE = "exchange"
    CONSUMER = "consumer"
    UNGRANTED = "ungranted"
    THROTTLED = "throttled"
    PLANNED = "planned"
    """A provider failure within an outage that was announced in time. Only reports use it; it is never stored."""


class TransportFailure(StrEnum):
    """Why a probe call ended without a reason from the service."""

    UNREACHABLE = "UNREACHABLE"
    """No connection, or no TLS handshake in time."""
    SERVICE_UNPROVEN = "SERVICE_UNPROVEN"
    """The server's certificate is not from a trusted authority, or is for another name."""
    SERVICE_CERTIFICATE_EXPIRED = "SERVICE_CERTIFICATE_EXPIRED"
    """The server's certificate is from a trusted authority, and expired or not yet valid."""
    SERVICE_SILENT = "SERVICE_SILENT"
    """The service accepted the connection and did not answer the call."""


_BY_TRANSPORT_FAILURE = {
    TransportFailure.UNREACHABLE: Attribution.EXCHANGE,
    TransportFailure.SERVICE_UNPROVEN: Attribution.EXCHANGE,
    TransportFailure.SERVICE_CERTIFICATE_EXPIRED: Attribution.PROVIDER,
    TransportFailure.SERVICE_SILENT: Attribution.PROVIDER,
}

_BY_EXCEPTIONAL_REASON = {
    Reason.NOT_GRANTED: Attribution.UNGRANTED,
    Reason.QUOTA_EXHAUSTED: Attribution.THROTTLED,
}
_BY_LAYER = {Layer.CALLER: Attribution.CONSUMER, Layer.SERVICE: Attribution.PROVIDER, Layer.STORE: Attribution.PROVIDER}

_BY_REASON = {
    reason: _BY_EXCEPTIONAL_REASON.get(reason, _BY_LAYER[spec.layer]) for reason, spec in ERROR_CATALOGUE.items()
}


def attribution_of(reason: str) -> Attribution:
    """Return the attribution of *reason*; one that this release does not know is counted to the provider."""
    if reason in set(TransportFailure):
        return _BY_TRANSPORT_FAILURE[TransportFailure(reason)]
    return _BY_REASON.get(Reason(reason), Attribution.PROVIDER) if reason in set(Reason) else Attribution.PROVIDER
