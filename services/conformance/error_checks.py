"""Checks refusals: the error catalogue's texts, exactly the details that belong, and nothing of the request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from conformance.client import CallResult
from conformance.receipt_checks import Mismatch
from estelam.core.errors import DOMAIN, ERROR_CATALOGUE, ErrorSpec, Reason

_KINDS: Mapping[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        error_details_pb2.ErrorInfo,
        error_details_pb2.LocalizedMessage,
        error_details_pb2.BadRequest,
        error_details_pb2.QuotaFailure,
        error_details_pb2.RetryInfo,
    )
}
_WITH_FIELDS = {Reason.FIELD_INVALID, Reason.METADATA_MALFORMED, Reason.METADATA_REQUIRED}
# Raised before the caller and the method are known.
_ANONYMOUS = {Reason.CERTIFICATE_UNUSABLE, Reason.CERTIFICATE_EXPIRED, Reason.METHOD_UNKNOWN}
# Their retry delay varies with the state of the quota or outage.
_VARIABLE_RETRY = {Reason.QUOTA_EXHAUSTED, Reason.OUTAGE_ANNOUNCED}
_TRANSIENT = {Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED}
_THROTTLED = {Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED}
_MAX_RETRY_HINT_SECONDS = 5.0
_QUOTA = re.compile(r"limit \d+, remaining \d+, full again in \d+ s")
# Trailers that may look like an identifier of the request, or that repeat the caller's own id.
_EXEMPT_TRAILERS = {"x-inquiry-id", "estelam-inquiry-id", "ratelimit", "ratelimit-policy", "grpc-status-details-bin"}


class ReceivedRefusal:
    """A refusal as received, with its details unpacked."""

    def __init__(self, result: CallResult) -> None:
        self.result = result
        self.status = status_pb2.Status()
        self.damaged = False
        self.details: list[Message] = []
        wire = result.trailer("grpc-status-details-bin")
        try:
            self.status.ParseFromString(wire if isinstance(wire, bytes) else b"")
            self.details = [_unpacked(detail) for detail in self.status.details]
        except (DecodeError, KeyError):
            self.damaged = True

    def details_of(self, kind: type[Message]) -> list[Any]:
        """Return the details of one kind."""
        return [detail for detail in self.details if isinstance(detail, kind)]

    @property
    def reason(self) -> Reason | None:
        """The reason of its one ErrorInfo, if it is in the error catalogue."""
        infos = self.details_of(error_details_pb2.ErrorInfo)
        reason = infos[0].reason if len(infos) == 1 and infos[0].domain == DOMAIN else ""
        return Reason(reason) if reason in set(Reason) else None

    @property
    def fields(self) -> list[str]:
        """The fields and metadata keys that its violations name."""
        return [each.field for bad in self.details_of(error_details_pb2.BadRequest) for each in bad.field_violations]

    def describe(self) -> str:
        """Describe it in one line."""
        infos = self.details_of(error_details_pb2.ErrorInfo)
        words = [self.result.status, *(info.reason for info in infos[:1]), *(f"({name})" for name in self.fields)]
        return " ".join(words) if infos else f"{self.result.status} {self.result.message[:120]!r}".strip()


def _unpacked(detail: any_pb2.Any) -> Message:
    message = _KINDS[detail.type_url.rpartition("/")[2]]()
    message.ParseFromString(detail.value)
    return message


def check_refusal(
    refused: ReceivedRefusal, *, reasons: tuple[Reason, ...], field: str | None, is_forwarded: bool
) -> Iterator[Mismatch]:
    """Yield what is wrong with a refusal.

    Args:
        refused: The refusal.
        reasons: The allowed reasons; if empty, any reason or none.
        field: The field that it must name, if any.
        is_forwarded: Whether the adapter forwarded it from the ministry.
    """
    if refused.damaged:
        yield "details of google.rpc in grpc-status-details-bin", "details of another kind, or malformed ones"
        return
    reason = refused.reason
    if reason is None:
        if reasons or refused.details:
            yield f"ErrorInfo of domain {DOMAIN} with reason {' or '.join(reasons)}", refused.describe()
        return
    if reasons and reason not in reasons:
        yield " or ".join(reasons), refused.describe()
        return
    yield from _check_texts(refused, ERROR_CATALOGUE[reason])
    yield from _check_details(refused, reason, field, is_forwarded=is_forwarded)
    yield from _check_trailers(refused, reason, is_forwarded=is_forwarded)


def _check_texts(refused: ReceivedRefusal, spec: ErrorSpec) -> Iterator[Mismatch]:
    result, status = refused.result, refused.status
    if result.status != code_pb2.Code.Name(spec.status) or status.code != spec.status:
        yield f"status {code_pb2.Code.Name(spec.status)}", f"{result.status}, and {status.code} in the details"
    for message in (result.message, status.message):
        if message != spec.en:
            yield f"message {spec.en!r}", repr(message[:200])
    texts = sorted((local.locale, local.message) for local in refused.details_of(error_details_pb2.LocalizedMessage))
    if texts != [("en", spec.en), ("fa", spec.fa)]:
        yield "LocalizedMessage in en and fa, with the catalogue's texts", str([locale for locale, _ in texts])
    metadata = dict(refused.details_of(error_details_pb2.ErrorInfo)[0].metadata)
    if metadata != {"layer": spec.layer.value}:
        yield f"ErrorInfo metadata with layer {spec.layer.value} only", str(metadata)[:200]


def _check_details(
    refused: ReceivedRefusal, reason: Reason, field: str | None, *, is_forwarded: bool
) -> Iterator[Mismatch]:
    fields = refused.fields
    if bool(fields) != (reason in _WITH_FIELDS):
        yield f"{'a' if reason in _WITH_FIELDS else 'no'} BadRequest", f"fields {fields}"
    elif field is not None and set(fields) != {field}:
        yield f"BadRequest about {field}", f"fields {fields}"
    quotas = [found for failure in refused.details_of(error_details_pb2.QuotaFailure) for found in failure.violations]
    wanted = reason is Reason.QUOTA_EXHAUSTED and not is_forwarded
    if len(quotas) != int(wanted) or not all(_QUOTA.fullmatch(found.description) for found in quotas):
        yield "QuotaFailure where the quota is exhausted, with limit, remaining and seconds", f"{len(quotas)} of them"
    retries = [retry.retry_delay.ToMilliseconds() / 1000 for retry in refused.details_of(error_details_pb2.RetryInfo)]
    spec = ERROR_CATALOGUE[reason]
    if reason in _VARIABLE_RETRY:
        fits = len(retries) == 1 and retries[0] >= 0
    else:
        fits = retries == ([] if spec.retry_seconds is None else [spec.retry_seconds])
    if not fits:
        yield (
            "RetryInfo exactly if the catalogue, quota or outage has a retry delay, with its seconds",
            f"seconds {retries}",
        )


def _check_trailers(refused: ReceivedRefusal, reason: Reason, *, is_forwarded: bool) -> Iterator[Mismatch]:
    if reason not in _ANONYMOUS and not is_uuid(refused.result.text("estelam-inquiry-id")):
        yield "trailer estelam-inquiry-id, a UUID", repr(refused.result.text("estelam-inquiry-id")[:64])
    pushback = refused.result.text("grpc-retry-pushback-ms")
    transient = reason in _TRANSIENT and not is_forwarded
    if reason is Reason.METHOD_UNKNOWN:
        fits = pushback in {"", "-1"}
    elif reason in _THROTTLED and not is_forwarded:
        soon = _retry_seconds(refused) <= _MAX_RETRY_HINT_SECONDS
        fits = (pushback.isdecimal() and pushback.isascii() and pushback != "0") if soon else pushback == "-1"
    else:
        fits = pushback == ("" if transient else "-1")
    if not fits:
        yield "grpc-retry-pushback-ms as the reason requires", repr(pushback[:32])


def _retry_seconds(refused: ReceivedRefusal) -> float:
    retries = refused.details_of(error_details_pb2.RetryInfo)
    return float(retries[0].retry_delay.ToMilliseconds() / 1000) if retries else 0.0


def check_leaks(result: CallResult, secrets: frozenset[bytes]) -> Iterator[Mismatch]:
    """Yield a mismatch if the refusal contains any of *secrets*."""
    details = result.trailer("grpc-status-details-bin")
    texts = [result.message.encode(), details if isinstance(details, bytes) else b""]
    texts += [
        value if isinstance(value, bytes) else value.encode()
        for key, value in result.trailers
        if key not in _EXEMPT_TRAILERS
    ]
    if any(secret in text for secret in secrets for text in texts):
        yield "nothing of the request in the refusal", "an identifier of the request"


def is_uuid(text: str) -> bool:
    """Return whether *text* is a UUID in canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
