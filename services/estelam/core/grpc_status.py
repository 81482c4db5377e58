"""Refusals as gRPC status: google.rpc.Status with its details, sent and received."""

import contextlib
from collections.abc import Iterable, Sequence

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from estelam.core.errors import DOMAIN, QuotaState, Reason, Refusal, Violation


def to_status(refusal: Refusal) -> status_pb2.Status:
    """Return *refusal* as google.rpc.Status with its details."""
    spec = refusal.spec
    details = [
        error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata={"layer": spec.layer}),
        error_details_pb2.LocalizedMessage(locale="fa", message=spec.fa),
        error_details_pb2.LocalizedMessage(locale="en", message=spec.en),
    ]
    if refusal.violations:
        details.append(_bad_request(refusal.violations))
    if refusal.quota:
        details.append(_quota_failure(refusal.quota))
    if refusal.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(refusal.retry_seconds * 1000))
        details.append(retry)
    packed = []
    for detail in details:
        packed.append(Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=spec.status, message=spec.en, details=packed)


def to_grpc(refusal: Refusal) -> grpc.Status:
    """Return *refusal* as gRPC sends it: code, constant text, and the details in trailing metadata."""
    status: grpc.Status = rpc_status.to_status(to_status(refusal))  # type: ignore[no-untyped-call]
    return status


def status_code(refusal: Refusal) -> grpc.StatusCode:
    """Return the code of *refusal* as gRPC names it."""
    return next(code for code in grpc.StatusCode if code.value[0] == refusal.spec.status)


def from_grpc(error: grpc.RpcError) -> Refusal | None:
    """Return the refusal that a call failed with, or None if *error* did not come from a service of estelam."""
    details = _details(error)
    info = error_details_pb2.ErrorInfo()
    if not any(detail.Unpack(info) for detail in details) or info.domain != DOMAIN or info.reason not in set(Reason):
        return None
    fields = error_details_pb2.BadRequest()
    if any(detail.Unpack(fields) for detail in details):
        violations = [Violation(found.field, found.reason, found.description) for found in fields.field_violations]
    else:
        violations = []
    return Refusal(Reason(info.reason), violations, retry_seconds=retry_delay(error))


def retry_delay(error: grpc.RpcError) -> float | None:
    """Return the seconds after which the sender of *error* allows a retry, or None if it does not say.

    They come in RetryInfo or, from proxies, in the pushback header of gRPC's retry design (gRFC A6).
    """
    retry = error_details_pb2.RetryInfo()
    if any(detail.Unpack(retry) for detail in _details(error)):
        return float(retry.retry_delay.ToMilliseconds() / 1000)
    pushback = [value for key, value in _trailing(error) if key == "grpc-retry-pushback-ms"]
    # A negative value only tells gRPC not to retry by itself.
    return int(pushback[0]) / 1000 if pushback and str(pushback[0]).isdecimal() else None


def _details(error: grpc.RpcError) -> Sequence[Any]:
    for key, value in _trailing(error):
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):  # not sent by a service of estelam
                return status_pb2.Status.FromString(value).details
    return ()


def _trailing(error: grpc.RpcError) -> Iterable[tuple[str, str | bytes]]:
    return error.trailing_metadata() or () if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else ()


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field=v.field,
                reason=v.rule,
                description=v.description,
                localized_message=error_details_pb2.LocalizedMessage(locale="fa", message=v.text.fa),
            )
            for v in violations
        ]
    )


def _quota_failure(quota: QuotaState) -> error_details_pb2.QuotaFailure:
    description = f"limit {quota.limit}, remaining {quota.remaining}, full again in {quota.reset_seconds} s"
    return error_details_pb2.QuotaFailure(
        violations=[error_details_pb2.QuotaFailure.Violation(subject=quota.policy, description=description)]
    )
