"""A refusal and its gRPC status details."""

from dataclasses import dataclass, field

from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from estelam.core.errors import ERROR_CATALOGUE, Reason
from estelam.core.rule_texts import RULE_TEXTS

TRANSIENT = {Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED}
THROTTLED = {Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED}


@dataclass
class Refused(Exception):  # noqa: N818 - it is an outcome, not an error
    """No answer, for one reason of the error catalogue."""

    reason: Reason
    fields: list[tuple[str, str, str]] = field(default_factory=list)
    """Field, rule and description of each violation."""
    quota: tuple[str, str] | None = None
    """The quota's name and its state as text."""
    retry_seconds: float | None = None


def status(refused: Refused) -> Status:
    """Return the content of grpc-status-details-bin."""
    spec = ERROR_CATALOGUE[refused.reason]
    status_proto = Status(code=spec.status, message=spec.en)
    for detail in _details(refused):
        status_proto.details.add().Pack(detail)
    return status_proto


def _details(refused: Refused) -> list[Message]:
    spec = ERROR_CATALOGUE[refused.reason]
    packed: list[Message] = [
        details.ErrorInfo(reason=refused.reason.value, domain="estelam", metadata={"layer": spec.layer.value}),
        details.LocalizedMessage(locale="fa", message=spec.fa),
        details.LocalizedMessage(locale="en", message=spec.en),
    ]
    if refused.fields:
        violations = [
            details.BadRequest.FieldViolation(
                field=name,
                reason=rule,
                description=text,
                localized_message=details.LocalizedMessage(locale="fa", message=RULE_TEXTS[rule].fa),
            )
            for name, rule, text in refused.fields
        ]
        packed.append(details.BadRequest(field_violations=violations))
    if refused.quota is not None:
        subject, text = refused.quota
        packed.append(
            details.QuotaFailure(violations=[details.QuotaFailure.Violation(subject=subject, description=text)])
        )
    if (seconds := retry_after(refused)) is not None:
        info = details.RetryInfo()
        info.retry_delay.FromMilliseconds(int(seconds * 1000))
        packed.append(info)
    return packed


def retry_after(refused: Refused) -> float | None:
    """Return when the call may be retried: the refusal's own delay, else the catalogue's."""
    return ERROR_CATALOGUE[refused.reason].retry_seconds if refused.retry_seconds is None else refused.retry_seconds


def pushback(refused: Refused, *, is_forwarding: bool) -> int | None:
    """Return milliseconds until gRPC may retry; -1 for never, None for its own backoff."""
    if is_forwarding:
        return -1
    if refused.reason in TRANSIENT:
        return None
    seconds = retry_after(refused)
    if refused.reason in THROTTLED and seconds is not None and seconds <= 5:
        return int(seconds * 1000) + 1
    return -1
