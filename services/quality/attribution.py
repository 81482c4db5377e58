"""Whose fault it was that an inquiry got no answer: every reason of the error table, attributed once."""

from enum import StrEnum

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason


class Fault(StrEnum):
    """To whom a failure is counted."""

    PROVIDER = "provider"
    EXCHANGE = "exchange"
    CONSUMER = "consumer"
    UNGRANTED = "ungranted"
    THROTTLED = "throttled"
    PLANNED = "planned"
    """The provider's, within an outage that it had announced in time: only reports tell it apart."""


class Unheard(StrEnum):
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
    Unheard.UNREACHABLE: Fault.EXCHANGE,
    Unheard.SERVICE_UNPROVEN: Fault.EXCHANGE,
    Unheard.SERVICE_CERTIFICATE_EXPIRED: Fault.PROVIDER,
    Unheard.SERVICE_SILENT: Fault.PROVIDER,
}

_APART = {
    Reason.NOT_GRANTED: Fault.UNGRANTED,
    Reason.QUOTA_EXHAUSTED: Fault.THROTTLED,
}
_OF_LAYER = {Layer.CALLER: Fault.CONSUMER, Layer.SERVICE: Fault.PROVIDER, Layer.STORE: Fault.PROVIDER}

_OF_REASON = {reason: _APART.get(reason, _OF_LAYER[words.layer]) for reason, words in ERROR_CATALOGUE.items()}


def fault_of(reason: str) -> Fault:
    """To whom a failure for *reason* is counted; one that this release does not know is the provider's to explain."""
    if reason in set(Unheard):
        return _OF_UNHEARD[Unheard(reason)]
    return _OF_REASON.get(Reason(reason), Fault.PROVIDER) if reason in set(Reason) else Fault.PROVIDER
