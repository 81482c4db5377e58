"""How a call is declined, and what is said of it on the wire."""

from dataclasses import dataclass, field

from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from estelam.core.errors import ERROR_CATALOGUE, Reason

PASSING = {Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED}
CROWDED = {Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED}


@dataclass
class Declined(Exception):  # noqa: N818 - it is an outcome, not a fault
    """No answer, for one reason of the table."""

    reason: Reason
    fields: list[tuple[str, str, str]] = field(default_factory=list)
    """Field, rule and description of each that is wrong."""
    quota: tuple[str, str] | None = None
    """The quota's name and its state in words."""
    retry_seconds: float | None = None


def status(declined: Declined) -> Status:
    """What grpc-status-details-bin holds."""
    row = ERROR_CATALOGUE[declined.reason]
    found = Status(code=row.status, message=row.en)
    for detail in _details(declined):
        found.details.add().Pack(detail)
    return found


def _details(declined: Declined) -> list[Message]:
    row = ERROR_CATALOGUE[declined.reason]
    said: list[Message] = [
        details.ErrorInfo(reason=declined.reason.value, domain="estelam", metadata={"layer": row.layer.value}),
        details.LocalizedMessage(locale="fa", message=row.fa),
        details.LocalizedMessage(locale="en", message=row.en),
    ]
    if declined.fields:
        broken = [
            details.BadRequest.FieldViolation(field=name, reason=rule, description=words)
            for name, rule, words in declined.fields
        ]
        said.append(details.BadRequest(field_violations=broken))
    if declined.quota is not None:
        subject, words = declined.quota
        said.append(
            details.QuotaFailure(violations=[details.QuotaFailure.Violation(subject=subject, description=words)])
        )
    if (seconds := retry_after(declined)) is not None:
        info = details.RetryInfo()
        info.retry_delay.FromMilliseconds(int(seconds * 1000))
        said.append(info)
    return said


def retry_after(declined: Declined) -> float | None:
    """When it may be tried again, if that may help: its own word, else the table's."""
    return ERROR_CATALOGUE[declined.reason].retry_seconds if declined.retry_seconds is None else declined.retry_seconds


def pushback(declined: Declined, *, relays: bool) -> int | None:
    """Milliseconds until the caller's gRPC may ask again by itself; -1 for never, None for whenever it likes."""
    if relays:
        return -1
    if declined.reason in PASSING:
        return None
    seconds = retry_after(declined)
    if declined.reason in CROWDED and seconds is not None and seconds <= 5:
        return int(seconds * 1000) + 1
    return -1
