"""Attribution of failed inquiries: which party each reason of the error catalogue is counted to."""

from enum import StrEnum
from typing import Final

from estelam.core.errors import ERROR_CATALOGUE, Layer, Reason
from estelam.telemetry.call_counts import CALLER_LEFT

EXCHANGE: Final = "nix"
"""The exchange centre's name in the catalogue: the third party of each agreement."""


class Attribution(StrEnum):
    """The party, or the separate category, that a failure is counted to."""

    PROVIDER = "provider"
    EXCHANGE = "exchange"
    CONSUMER = "consumer"
    UNGRANTED = "ungranted"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    """A failure of the provider or of the exchange, of which nothing shows yet whose it is."""
    PLANNED = "planned"
    """A provider failure within an outage that was announced in time. Only reports use it; it is never stored."""
    DEPENDENCY = "dependency"
    """A provider failure while another service, which this one depends on, was down. Only reports use it, too."""


class TransportFailure(StrEnum):
    """Why a probe call ended without a reason from the service."""

    UNREACHABLE = "UNREACHABLE"
    """Nothing at the address: no route, no name, or no connection in time."""
    PATH_DOWN = "PATH_DOWN"
    """The same, at the same time, of every service of several providers."""
    CONNECTION_REFUSED = "CONNECTION_REFUSED"
    """The service's host refused the connection: nothing listens there."""
    SERVICE_FROZEN = "SERVICE_FROZEN"
    """The connection was accepted, and no TLS handshake followed."""
    SERVICE_UNPROVEN = "SERVICE_UNPROVEN"
    """The server's certificate is not from a trusted authority, or is for another name."""
    SERVICE_CERTIFICATE_EXPIRED = "SERVICE_CERTIFICATE_EXPIRED"
    """The server's certificate is from a trusted authority, and expired or not yet valid."""
    SERVICE_SILENT = "SERVICE_SILENT"
    """The service accepted the connection and did not answer the call."""
    SERVER_ERROR = "SERVER_ERROR"
    """The service answered a probe over HTTP with a status of 500 or more."""
    NOT_SERVING = "NOT_SERVING"
    """The service reports itself that it is not serving."""
    STATUS_UNEXPLAINED = "STATUS_UNEXPLAINED"
    """Something refused the call as wrong, without a reason of the error catalogue."""


_BY_TRANSPORT_FAILURE = {
    TransportFailure.UNREACHABLE: Attribution.UNKNOWN,
    TransportFailure.PATH_DOWN: Attribution.EXCHANGE,
    TransportFailure.CONNECTION_REFUSED: Attribution.PROVIDER,
    TransportFailure.SERVICE_FROZEN: Attribution.PROVIDER,
    TransportFailure.SERVICE_UNPROVEN: Attribution.UNKNOWN,
    TransportFailure.SERVICE_CERTIFICATE_EXPIRED: Attribution.PROVIDER,
    TransportFailure.SERVICE_SILENT: Attribution.PROVIDER,
    TransportFailure.SERVER_ERROR: Attribution.PROVIDER,
    TransportFailure.NOT_SERVING: Attribution.PROVIDER,
    TransportFailure.STATUS_UNEXPLAINED: Attribution.UNKNOWN,
}

_BY_EXCEPTIONAL_REASON = {
    Reason.NOT_GRANTED: Attribution.UNGRANTED,
    Reason.QUOTA_EXHAUSTED: Attribution.THROTTLED,
}
_BY_LAYER = {Layer.CALLER: Attribution.CONSUMER, Layer.SERVICE: Attribution.PROVIDER, Layer.STORE: Attribution.PROVIDER}

_BY_NAME: dict[str, Attribution] = {
    **{reason: _BY_EXCEPTIONAL_REASON.get(reason, _BY_LAYER[spec.layer]) for reason, spec in ERROR_CATALOGUE.items()},
    **{failure.value: side for failure, side in _BY_TRANSPORT_FAILURE.items()},
    CALLER_LEFT: Attribution.CONSUMER,
}


def attribution_of(reason: str) -> Attribution:
    """Return the attribution of *reason*; of one that this release does not know nothing is known."""
    return _BY_NAME.get(reason, Attribution.UNKNOWN)
