"""Whose fault it was that an inquiry got no answer: every reason of the error table, attributed once."""

from enum import StrEnum

from estelam.errors import TABLE, Layer, Reason


class Fault(StrEnum):
    """To whom a failure is counted."""

    PROVIDER = "provider"
    EXCHANGE = "exchange"
    CONSUMER = "consumer"
    UNGRANTED = "ungranted"
    THROTTLED = "throttled"
    PLANNED = "planned"
    """The provider's, within an outage that it had announced in time: only reports tell it apart."""


_APART = {
    Reason.NOT_GRANTED: Fault.UNGRANTED,
    Reason.QUOTA_EXHAUSTED: Fault.THROTTLED,
}
_OF_LAYER = {Layer.CALLER: Fault.CONSUMER, Layer.SERVICE: Fault.PROVIDER, Layer.STORE: Fault.PROVIDER}

_OF_REASON = {reason: _APART.get(reason, _OF_LAYER[words.layer]) for reason, words in TABLE.items()}


def fault_of(reason: str) -> Fault:
    """To whom a refusal for *reason* is counted; one that this release does not know is the provider's to explain."""
    return _OF_REASON.get(Reason(reason), Fault.PROVIDER) if reason in set(Reason) else Fault.PROVIDER
