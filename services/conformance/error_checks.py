"""Checks refusals: the error catalogue's texts, exactly the details that belong, and nothing of the request."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from conformance import contract_facts
from conformance.client import CallResult
from conformance.mismatch import CATALOGUE, METADATA, UNDISCLOSED, Mismatch
from estelam.core import validation
from estelam.core.errors import DOMAIN, ERROR_CATALOGUE, MAX_PUSHBACK_SECONDS, ErrorSpec, Pushback, Reason
from estelam.receipts.own_call import NONCE

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
# Raised before the caller and the method are known.
_ANONYMOUS = {Reason.CERTIFICATE_UNUSABLE, Reason.CERTIFICATE_EXPIRED, Reason.METHOD_UNKNOWN}
# Their retry delay varies with the state of the quota or outage.
_VARIABLE_RETRY = {Reason.QUOTA_EXHAUSTED, Reason.OUTAGE_ANNOUNCED}
# Refusals of a request whose metadata is valid.
_VALIDATED = {
    *(Reason.REQUEST_MALFORMED, Reason.REQUEST_TOO_LARGE, Reason.FIELD_UNKNOWN, Reason.FIELD_INVALID),
    *(Reason.QUOTA_EXHAUSTED, Reason.AGENCY_NOT_MEMBER, Reason.NOTE_NOT_CONFIRMED),
    *(Reason.COVERAGE_UNDECLARED, Reason.DATA_STALE),
}
# Refusals of a caller whose grant is known.
_AUTHORIZED = {*_VALIDATED, Reason.METADATA_MALFORMED, Reason.METADATA_REQUIRED}
_QUOTA_FORM = "limit N, remaining N, full again in N s"
_QUOTA_STATE = re.compile(_QUOTA_FORM.replace("N", r"(\d+)"), re.ASCII)
_ROUNDING_SECONDS = 2
"""By how much a retry may differ from what the trailers say in whole seconds."""
_PUSHBACK = "grpc-retry-pushback-ms"
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
    def violations(self) -> set[tuple[str, str]]:
        """The fields and metadata keys that its BadRequest names, each with the rule that it violates."""
        requests = self.details_of(error_details_pb2.BadRequest)
        return {(each.field, each.reason) for request in requests for each in request.field_violations}

    def describe(self) -> str:
        """Describe it in one line."""
        infos = self.details_of(error_details_pb2.ErrorInfo)
        words = [
            self.result.status,
            *(info.reason for info in infos[:1]),
            *(f"({name})" for name in sorted({field for field, _ in self.violations})),
        ]
        return " ".join(words) if infos else f"{self.result.status} {self.result.message[:120]!r}".strip()


def _unpacked(detail: any_pb2.Any) -> Message:
    message = _KINDS[detail.type_url.rpartition("/")[2]]()
    message.ParseFromString(detail.value)
    return message


def is_validated(result: CallResult) -> bool:
    """Return whether *result* was given after the metadata of its call was found valid."""
    return result.status == "OK" or ReceivedRefusal(result).reason in _VALIDATED


def is_authorized(result: CallResult) -> bool:
    """Return whether *result* was given after the grant of its caller was found."""
    return result.status == "OK" or ReceivedRefusal(result).reason in _AUTHORIZED


@dataclass(frozen=True, slots=True)
class ExpectedRefusal:
    """What a refusal must say."""

    method: str
    """The name of the method, which is the name of its quota."""
    reasons: tuple[Reason, ...] = ()
    """The allowed reasons; if empty, any reason or none."""
    field: str | None = None
    """The one field or metadata key that it must name, if any."""
    request: Message | None = None
    """The request, if it can be read."""
    is_forwarded: bool = False
    """Whether the adapter sent it, of its own or from the ministry."""
    is_ministrys: bool = False
    """Whether the quota that it may name is the adapter's own at the ministry."""


def check_refusal(refused: ReceivedRefusal, expected: ExpectedRefusal) -> Iterator[Mismatch]:
    """Yield what is wrong with a refusal."""
    reasons, reason = expected.reasons, refused.reason
    if refused.damaged:
        wrong = "details of another kind, or malformed ones"
        yield Mismatch("details of google.rpc in grpc-status-details-bin", wrong, CATALOGUE)
        return
    if Reason.METHOD_UNKNOWN in reasons and not refused.details:
        return  # most stacks refuse an unknown method themselves
    if reason is None:
        if reasons or refused.details:
            wanted = f"ErrorInfo of domain {DOMAIN} with reason {' or '.join(reasons) or 'of the catalogue'}"
            yield Mismatch(wanted, refused.describe(), CATALOGUE)
        return
    if reasons and reason not in reasons:
        yield Mismatch(" or ".join(reasons), refused.describe(), CATALOGUE)
        return
    yield from _check_texts(refused, ERROR_CATALOGUE[reason])
    yield from _check_fields(refused, reason, expected)
    yield from _check_retry(refused, reason)
    if not refused.result.is_http:
        yield from _check_quota(refused, reason, expected)
        yield from _check_pushback(refused, reason, is_forwarded=expected.is_forwarded)
    if reason not in _ANONYMOUS and not is_uuid(refused.result.text("estelam-inquiry-id")):
        yield Mismatch("estelam-inquiry-id: a UUID", refused.result.seen("estelam-inquiry-id"), METADATA)


def _check_texts(refused: ReceivedRefusal, spec: ErrorSpec) -> Iterator[Mismatch]:
    result, status = refused.result, refused.status
    if result.status != code_pb2.Code.Name(spec.status) or status.code != spec.status:
        wrong = f"{result.status}, and code {status.code} in the details"
        yield Mismatch(f"status {code_pb2.Code.Name(spec.status)}, code {spec.status}", wrong, CATALOGUE)
    for where, message in (("grpc-message", result.message), ("the details' message", status.message)):
        if message != spec.en:
            yield Mismatch(f"{where} {spec.en!r}", repr(message[:200]), CATALOGUE)
    texts = [(local.locale, local.message) for local in refused.details_of(error_details_pb2.LocalizedMessage)]
    for locale, text in (("en", spec.en), ("fa", spec.fa)):
        found = [message for own, message in texts if own == locale]
        if found != [text]:
            yield Mismatch(f"LocalizedMessage {locale} {text!r}", _seen(found), CATALOGUE)
    if others := [locale for locale, _ in texts if locale not in {"en", "fa"}]:
        yield Mismatch("LocalizedMessage in en and fa only", _seen(others), CATALOGUE)
    metadata = dict(refused.details_of(error_details_pb2.ErrorInfo)[0].metadata)
    if metadata != {"layer": spec.layer.value}:
        yield Mismatch(f"ErrorInfo metadata with layer {spec.layer.value} only", str(metadata)[:200], CATALOGUE)


def _check_fields(refused: ReceivedRefusal, reason: Reason, expected: ExpectedRefusal) -> Iterator[Mismatch]:
    found = refused.violations
    fields = {field for field, _ in found}
    if not ERROR_CATALOGUE[reason].has_fields:
        if found and not refused.result.is_http:  # JSON names the field of a request that is well formed too
            yield Mismatch("no BadRequest", _named(found), CATALOGUE)
        return
    if reason is Reason.FIELD_INVALID and expected.request is not None:
        wanted = {(each.field, each.rule) for each in validation.violations(expected.request)}
    else:
        wanted = {(field, _metadata_rule(reason, field)) for field in ({expected.field} if expected.field else fields)}
    if not found or found != wanted:
        yield Mismatch(f"BadRequest with {_named(wanted)}", _named(found), CATALOGUE)
    named = [each for request in refused.details_of(error_details_pb2.BadRequest) for each in request.field_violations]
    if len(named) != len(found):
        yield Mismatch(f"BadRequest with {len(found)} violations", f"{len(named)}, some of them equal", CATALOGUE)
    yield from _check_rule_texts(refused)


def _metadata_rule(reason: Reason, key: str) -> str:
    """Return the rule that a refusal because of the metadata *key* names."""
    if reason is Reason.METADATA_REQUIRED:
        return "metadata.required"
    return "metadata.nonce" if key == NONCE else "metadata.form"


def _check_rule_texts(refused: ReceivedRefusal) -> Iterator[Mismatch]:
    for request in refused.details_of(error_details_pb2.BadRequest):
        for each in request.field_violations:
            local = each.localized_message
            found = each.description, local.locale, local.message
            en, fa = contract_facts.rule_texts().get(each.reason, ("", ""))
            if found != (en, "fa", fa):
                wanted = f"{each.field}: description {en!r}, and localized_message fa {fa!r}"
                yield Mismatch(wanted, _seen(found), CATALOGUE)


def _named(violations: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{field} ({rule})" for field, rule in sorted(violations)) or "no field"


def _check_quota(refused: ReceivedRefusal, reason: Reason, expected: ExpectedRefusal) -> Iterator[Mismatch]:
    quotas = [each for failure in refused.details_of(error_details_pb2.QuotaFailure) for each in failure.violations]
    # The quota that is used up at the ministry is the adapter's, not its caller's.
    if not ERROR_CATALOGUE[reason].has_quota or expected.is_ministrys:
        if quotas:
            yield Mismatch("no QuotaFailure", _seen([each.description for each in quotas]), CATALOGUE)
        return
    state = _QUOTA_STATE.fullmatch(quotas[0].description) if len(quotas) == 1 else None
    if state is None:
        seen = _seen([each.description for each in quotas])
        yield Mismatch(f"QuotaFailure with one violation {_QUOTA_FORM!r}", seen, CATALOGUE)
        return
    if quotas[0].subject != expected.method:
        yield Mismatch(f"QuotaFailure with subject {expected.method}", repr(quotas[0].subject[:64]), CATALOGUE)
    limit, remaining, reset = (int(number) for number in state.groups())
    policy = re.search(r";q=(\d+);w=(\d+)", refused.result.text("ratelimit-policy"), re.ASCII)
    retry = _retry_seconds(refused)
    if policy is not None and int(policy[1]) != limit:
        yield Mismatch(f"QuotaFailure with limit {policy[1]}, as in ratelimit-policy", f"limit {limit}", CATALOGUE)
    if remaining != 0:
        yield Mismatch("QuotaFailure with remaining 0", f"remaining {remaining}", CATALOGUE)
    if retry is not None and not 0 < retry <= reset:
        yield Mismatch(f"RetryInfo between 0 and the {reset} s in which the quota is full", f"{retry:g} s", CATALOGUE)
    elif retry is not None and policy is not None:
        token = reset - int(policy[2]) * (limit - 1) / limit
        if abs(retry - token) > _ROUNDING_SECONDS:
            yield Mismatch(f"RetryInfo of about {token:.0f} s, when there is a token", f"{retry:g} s", CATALOGUE)


def _check_retry(refused: ReceivedRefusal, reason: Reason) -> Iterator[Mismatch]:
    spec, retries = ERROR_CATALOGUE[reason], refused.details_of(error_details_pb2.RetryInfo)
    seconds = [retry.retry_delay.ToMilliseconds() / 1000 for retry in retries]
    if reason in _VARIABLE_RETRY:
        if len(seconds) != 1 or seconds[0] < 0:
            yield Mismatch("one RetryInfo, with the time until a retry may succeed", _seconds(seconds), CATALOGUE)
    elif seconds != ([] if spec.retry_seconds is None else [spec.retry_seconds]):
        wanted = "no RetryInfo" if spec.retry_seconds is None else f"RetryInfo of {spec.retry_seconds:g} s"
        yield Mismatch(wanted, _seconds(seconds), CATALOGUE)


def _check_pushback(refused: ReceivedRefusal, reason: Reason, *, is_forwarded: bool) -> Iterator[Mismatch]:
    given = refused.result.trailers_of(_PUSHBACK)
    pushback = Pushback.FORBIDDEN if is_forwarded else ERROR_CATALOGUE[reason].pushback
    low = _retry_seconds(refused) or 0.0
    if reason is Reason.METHOD_UNKNOWN:
        wanted, fits = "-1 or none", given in ([], ["-1"])
    elif pushback is Pushback.FREE:
        wanted, fits = "none", not given
    elif pushback is Pushback.DELAYED and low <= MAX_PUSHBACK_SECONDS:
        least, most = max(1, int(low * 1000)), int(low * 2000) + 3  # the delay is sent in whole milliseconds
        number = str(given[0]) if len(given) == 1 else ""
        wanted = f"{least} to {most}"
        fits = number.isdecimal() and number.isascii() and least <= int(number) <= most
    else:
        wanted, fits = "-1", given == ["-1"]
    if not fits:
        yield Mismatch(f"{_PUSHBACK}: {wanted}", refused.result.seen(_PUSHBACK), CATALOGUE)


def _retry_seconds(refused: ReceivedRefusal) -> float | None:
    retries = refused.details_of(error_details_pb2.RetryInfo)
    return float(retries[0].retry_delay.ToMilliseconds() / 1000) if len(retries) == 1 else None


def _seconds(seconds: Sequence[float]) -> str:
    return ", ".join(f"RetryInfo of {each:g} s" for each in seconds) or "seen none"


def _seen(texts: Sequence[str]) -> str:
    return ", ".join(repr(text[:200]) for text in texts) or "seen none"


def check_leaks(result: CallResult, secrets: frozenset[bytes]) -> Iterator[Mismatch]:
    """Yield a mismatch if a refusal, or the metadata of an answer, contains any of *secrets*."""
    details = result.trailer("grpc-status-details-bin")
    texts = [result.message.encode(), details if isinstance(details, bytes) else b""]
    texts += [
        value if isinstance(value, bytes) else value.encode()
        for key, value in (*result.trailers, *result.initial_metadata)
        if key not in _EXEMPT_TRAILERS
    ]
    if any(secret in text for secret in secrets for text in texts):
        yield Mismatch(
            "nothing of the request in the refusal or its metadata", "an identifier of the request", UNDISCLOSED
        )


def is_uuid(text: str) -> bool:
    """Return whether *text* is a UUID in canonical form."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
