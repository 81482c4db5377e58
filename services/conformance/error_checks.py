"""Refusals under examination: the table's words, exactly the details that belong, and nothing of the request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from conformance.client import Seen
from conformance.receipt_checks import Found
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
_OF_FIELDS = {Reason.FIELD_INVALID, Reason.METADATA_MALFORMED, Reason.METADATA_REQUIRED}
# Said before it is known who asks, or what.
_ANONYMOUS = {Reason.CERTIFICATE_UNUSABLE, Reason.CERTIFICATE_EXPIRED, Reason.METHOD_UNKNOWN}
# When to ask again is said each time, by what is left of a quota or of an outage.
_TOLD_EACH_TIME = {Reason.QUOTA_EXHAUSTED, Reason.OUTAGE_ANNOUNCED}
_PASSING = {Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED}
_CROWDED = {Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED}
_PATIENCE_SECONDS = 5.0
_QUOTA = re.compile(r"limit \d+, remaining \d+, full again in \d+ s")
# What belongs in a trailer although it is made of digits, or is the caller's own.
_OWN = {"x-inquiry-id", "estelam-inquiry-id", "ratelimit", "ratelimit-policy", "grpc-status-details-bin"}


class Refused:
    """A refusal with its details unpacked."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.status = status_pb2.Status()
        self.damaged = False
        self.details: list[Message] = []
        wire = seen.trailer("grpc-status-details-bin")
        try:
            self.status.ParseFromString(wire if isinstance(wire, bytes) else b"")
            self.details = [_unpacked(detail) for detail in self.status.details]
        except (DecodeError, KeyError):
            self.damaged = True

    def of(self, kind: type[Message]) -> list[Any]:
        """The details of one kind."""
        return [detail for detail in self.details if isinstance(detail, kind)]

    @property
    def reason(self) -> Reason | None:
        """The reason of the table that it gives, if it gives one."""
        infos = self.of(error_details_pb2.ErrorInfo)
        named = infos[0].reason if len(infos) == 1 and infos[0].domain == DOMAIN else ""
        return Reason(named) if named in set(Reason) else None

    @property
    def fields(self) -> list[str]:
        """The fields and metadata keys complained about."""
        return [found.field for bad in self.of(error_details_pb2.BadRequest) for found in bad.field_violations]

    def described(self) -> str:
        """In one line."""
        infos = self.of(error_details_pb2.ErrorInfo)
        words = [self.seen.status, *(info.reason for info in infos[:1]), *(f"({name})" for name in self.fields)]
        return " ".join(words) if infos else f"{self.seen.status} {self.seen.message[:120]!r}".strip()


def _unpacked(detail: any_pb2.Any) -> Message:
    message = _KINDS[detail.type_url.rpartition("/")[2]]()
    message.ParseFromString(detail.value)
    return message


def faults(refused: Refused, *, reasons: tuple[Reason, ...], field: str | None, relayed: bool) -> Iterator[Found]:
    """What is wrong with a refusal for one of *reasons*, or for any or none where there are none."""
    if refused.damaged:
        yield "details of google.rpc in grpc-status-details-bin", "details of another kind, or damaged ones"
        return
    reason = refused.reason
    if reason is None:
        if reasons or refused.details:
            yield f"ErrorInfo of domain {DOMAIN} with reason {' or '.join(reasons)}", refused.described()
        return
    if reasons and reason not in reasons:
        yield " or ".join(reasons), refused.described()
        return
    yield from _faults_of_words(refused, ERROR_CATALOGUE[reason])
    yield from _faults_of_details(refused, reason, field, relayed=relayed)
    yield from _faults_of_trailers(refused, reason, relayed=relayed)


def _faults_of_words(refused: Refused, words: ErrorSpec) -> Iterator[Found]:
    seen, status = refused.seen, refused.status
    if seen.status != code_pb2.Code.Name(words.status) or status.code != words.status:
        yield f"status {code_pb2.Code.Name(words.status)}", f"{seen.status}, and {status.code} in the details"
    for told in (seen.message, status.message):
        if told != words.en:
            yield f"message {words.en!r}", repr(told[:200])
    said = sorted((local.locale, local.message) for local in refused.of(error_details_pb2.LocalizedMessage))
    if said != [("en", words.en), ("fa", words.fa)]:
        yield "LocalizedMessage in en and fa, in the table's words", str([locale for locale, _ in said])
    metadata = dict(refused.of(error_details_pb2.ErrorInfo)[0].metadata)
    if metadata != {"layer": words.layer.value}:
        yield f"ErrorInfo of layer {words.layer.value}, and no more", str(metadata)[:200]


def _faults_of_details(refused: Refused, reason: Reason, field: str | None, *, relayed: bool) -> Iterator[Found]:
    fields = refused.fields
    if bool(fields) != (reason in _OF_FIELDS):
        yield f"{'a' if reason in _OF_FIELDS else 'no'} BadRequest", f"fields {fields}"
    elif field is not None and set(fields) != {field}:
        yield f"BadRequest about {field}", f"fields {fields}"
    quotas = [found for failure in refused.of(error_details_pb2.QuotaFailure) for found in failure.violations]
    wanted = reason is Reason.QUOTA_EXHAUSTED and not relayed
    if len(quotas) != int(wanted) or not all(_QUOTA.fullmatch(found.description) for found in quotas):
        yield "QuotaFailure where the quota is exhausted, with limit, remaining and seconds", f"{len(quotas)} of them"
    retries = [retry.retry_delay.ToMilliseconds() / 1000 for retry in refused.of(error_details_pb2.RetryInfo)]
    words = ERROR_CATALOGUE[reason]
    if reason in _TOLD_EACH_TIME:
        fits = len(retries) == 1 and retries[0] >= 0
    else:
        fits = retries == ([] if words.retry_seconds is None else [words.retry_seconds])
    if not fits:
        yield (
            "RetryInfo exactly where the table, quota or outage has it, with its seconds",
            f"seconds {retries}",
        )


def _faults_of_trailers(refused: Refused, reason: Reason, *, relayed: bool) -> Iterator[Found]:
    if reason not in _ANONYMOUS and not is_uuid(refused.seen.text("estelam-inquiry-id")):
        yield "trailer estelam-inquiry-id, a UUID", repr(refused.seen.text("estelam-inquiry-id")[:64])
    pushback = refused.seen.text("grpc-retry-pushback-ms")
    passing = reason in _PASSING and not relayed
    if reason is Reason.METHOD_UNKNOWN:
        fits = pushback in {"", "-1"}
    elif reason in _CROWDED and not relayed:
        soon = _retry_seconds(refused) <= _PATIENCE_SECONDS
        fits = (pushback.isdecimal() and pushback.isascii() and pushback != "0") if soon else pushback == "-1"
    else:
        fits = pushback == ("" if passing else "-1")
    if not fits:
        yield "grpc-retry-pushback-ms as the reason has it", repr(pushback[:32])


def _retry_seconds(refused: Refused) -> float:
    retries = refused.of(error_details_pb2.RetryInfo)
    return float(retries[0].retry_delay.ToMilliseconds() / 1000) if retries else 0.0


def leaks(seen: Seen, secrets: frozenset[bytes]) -> Iterator[Found]:
    """Whether anything of the request stands in what was said in refusing it."""
    details = seen.trailer("grpc-status-details-bin")
    said = [seen.message.encode(), details if isinstance(details, bytes) else b""]
    said += [value if isinstance(value, bytes) else value.encode() for key, value in seen.trailers if key not in _OWN]
    if any(secret in words for secret in secrets for words in said):
        yield "nothing of the request in the refusal", "an identifier of the request"


def is_uuid(text: str) -> bool:
    """Whether *text* is a UUID in its usual form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
