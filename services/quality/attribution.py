"""Whose fault it was that an inquiry got no answer: every reason of the error table, attributed once."""

from enum import StrEnum

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason


class Attribution(StrEnum):
    """To whom a failure is counted."""

    PROVIDER = "provider"
    EXCHANGE = "exchange"
    CONSUMER = "consumer"
    UNGRANTED = "ungranted"
    THROTTLED = "throttled"
    PLANNED = "planned"
    """The provider's, within an outage that it had announced in time: only reports tell it apart."""


class TransportFailure(StrEnum):
    """What a probe found by itself where no reason came back."""

    UNREACHABLE = "UNREACHABLE"
    """Nobody took the connection, or nobody spoke on it in time."""
    SERVICE_UNPROVEN = "SERVICE_UNPROVEN"
    """Whoever answers there has no certificate by which it is known to be the service."""
    SERVICE_CERTIFICATE_EXPIRED = "SERVICE_CERTIFICATE_EXPIRED"
    """The service's own certificate is of the right authority, and no longer or not yet valid."""
    SERVICE_SILENT = "SERVICE_SILENT"
    """The service itself took the connection, and the inquiry got no answer."""


_OF_UNHEARD = {
    TransportFailure.UNREACHABLE: Attribution.EXCHANGE,
    TransportFailure.SERVICE_UNPROVEN: Attribution.EXCHANGE,
    TransportFailure.SERVICE_CERTIFICATE_EXPIRED: Attribution.PROVIDER,
    TransportFailure.SERVICE_SILENT: Attribution.PROVIDER,
}

_APART = {
    Reason.NOT_GRANTED: Attribution.UNGRANTED,
    Reason.QUOTA_EXHAUSTED: Attribution.THROTTLED,
}
_OF_LAYER = {Layer.CALLER: Attribution.CONSUMER, Layer.SERVICE: Attribution.PROVIDER, Layer.STORE: Attribution.PROVIDER}

_OF_REASON = {reason: _APART.get(reason, _OF_LAYER[words.layer]) for reason, words in ERROR_CATALOGUE.items()}


def attribution_of(reason: str) -> Attribution:
    """To whom a failure for *reason* is counted; one that this release does not know is the provider's to explain."""
    if reason in set(TransportFailure):
        return _OF_UNHEARD[TransportFailure(reason)]
    return _OF_REASON.get(Reason(reason), Attribution.PROVIDER) if reason in set(Reason) else Attribution.PROVIDER
