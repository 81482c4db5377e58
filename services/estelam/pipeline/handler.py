"""The desk: the one numbered course that every inquiry of every service takes.

1 who asks, 2 may they, 3 well formed, 4 quota, 5 what is true, 6 write it down, 7 speak. Steps 5 and 6 happen behind
the counter, in one transaction (`estelam.pipeline.recorder`), or at another service that records (the adapter).
"""

import asyncio
import contextlib
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Protocol

import grpc
import structlog
import uuid_utils
from google.protobuf.message import Message
from grpc.aio import AbortError, ServicerContext

from estelam.auth import rate_limit
from estelam.auth.authentication import Authenticator, Metadata
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import Grant, Quota
from estelam.auth.rate_limit import RateLimiter, RefusalThrottle, TokenBucket
from estelam.core import validation
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.grpc_status import to_grpc
from estelam.core.model import PURPOSE_KEYS, Answer, Inquiry, Method, Outcome, Purpose
from estelam.pipeline import metadata
from estelam.pipeline.batcher import is_cancelled
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.recorder import refusal_for
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()

Context = ServicerContext[Any, Any]
Handler = Callable[[bytes, Context], Awaitable[bytes]]
RequestParser = Callable[[type[Message], bytes], Message]
"""How a request is read from what came over the wire: whole and well formed, or a Refusal."""

# Faults that may pass within a second: a caller's gRPC may ask again by itself, when it likes. Where there is too much
# to do, it is told when. All other refusals tell it not to, and a service that asks another has tried already: five
# times five would help nobody.
TRANSIENT_REASONS = frozenset({Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED})
THROTTLED_REASONS = frozenset({Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED})
MAX_RETRY_HINT_SECONDS = 5.0
# How long such a refusal may be kept back from a caller who presses on.
MAX_REFUSAL_DELAY_SECONDS = 2.0
# How long a refusal within an announced outage waits for its record: the store may well be what is out.
OUTAGE_RECORD_TIMEOUT_SECONDS = 1.0
_PUSHBACK = "grpc-retry-pushback-ms"
_PURPOSE_VALUE = re.compile(r"[0-9A-Za-z._:/-]{1,64}")


class AnswerBackend(Protocol):
    """Where steps 5 and 6 happen."""

    async def answer(self, inquiry: Inquiry, seconds: float) -> Answer:
        """The recorded answer within *seconds*, or a Refusal."""

    async def record_refusal(self, inquiry: Inquiry, seconds: float) -> None:
        """Record *inquiry*'s refusal."""


@dataclass(slots=True)
class CallState:
    """What is known of one call so far: the inquiry once the caller is known, then the grant, then the bucket."""

    inquiry: Inquiry | None = None
    grant: Grant | None = None
    bucket: TokenBucket | None = None
    submitted: bool = False
    """Past step 4: whoever answers or refuses from here on records it too."""


class InquiryHandler:
    """Takes every inquiry along the course. Whatever goes wrong on the way is a refusal, never an answer."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        outages: OutageSchedule,
        backend: AnswerBackend,
        metrics: Metrics,
        clock: Clock,
        request_timeout_seconds: float,
        refusal_record_quota: Quota,
        is_forwarding: bool = False,
    ) -> None:
        self._door = authenticator
        self._access = authorizer
        self._outages = outages
        self._counter = backend
        self._metrics = metrics
        self._clock = clock
        self._answer_seconds = request_timeout_seconds
        self._relays = is_forwarding
        self._quotas = RateLimiter(clock)
        # Refusals are recorded too, within a budget of each caller's own, so that nobody fills the disk with them.
        self._refusals = refusal_record_quota
        self._refusal_quotas = RateLimiter(clock)
        self._pace = RefusalThrottle(clock)
        self._plainest = to_grpc(Refusal(Reason.SERVICE_FAILED))

    def handler(self, method: Method, reading: RequestParser = validation.parse_request) -> Handler:
        """The function that answers *method* on the wire: bytes in, bytes out, nothing thrown but gRPC's own abort.

        *reading* is how requests of another face than gRPC's own are read, at the same step of the course.
        """

        async def handle(wire: bytes, context: Context) -> bytes:
            try:
                return await self._run(method, partial(reading, method.request, wire), context)
            except BaseException as error:
                # The one place where nothing may pass: a fault while refusing is refused with the plainest words, which
                # were made ready beforehand.
                if isinstance(error, AbortError) or is_cancelled(error):
                    raise
                with contextlib.suppress(Exception):
                    log.error("refusal.failed", method=method.short_name, error=type(error).__name__)
                return await _end(context, self._plainest)

        return handle

    async def _run(self, method: Method, read: Callable[[], Message], context: Context) -> bytes:
        visit = CallState()
        try:
            reply = await self._process(method, read, context, visit)
            context.set_trailing_metadata(_trailer(visit))
        except BaseException as error:
            if is_cancelled(error):
                raise
            return await self._refuse(method, context, visit, error)
        return reply

    async def _process(self, method: Method, read: Callable[[], Message], context: Context, visit: CallState) -> bytes:
        arrived = self._clock.monotonic()
        seconds = self._time_budget(context)
        metadata = context.invocation_metadata() or ()
        caller = self._door.authenticate(context, metadata)  # 1 who asks
        inquiry = Inquiry(uuid_utils.uuid7(), method, caller, arrived)
        visit.inquiry = inquiry
        grant = visit.grant = self._access.authorize(caller, method)  # 2 may they
        inquiry.purpose = _purpose(metadata, grant)
        inquiry.request = read()  # 3 well formed
        visit.bucket = self._quotas.bucket(caller.organization_id, method.short_name, grant.quota)
        rate_limit.acquire(visit.bucket, method.short_name)  # 4 quota
        self._outages.check(method.service)  # within an announced outage, the course ends here
        visit.submitted = True
        answered = await self._counter.answer(inquiry, seconds)  # 5 what is true, 6 write it down
        if answered.outcome is Outcome.NO:
            rate_limit.charge_miss(visit.bucket)
        self._metrics.answered(method.short_name, answered.outcome, self._clock.monotonic() - arrived)
        log.debug("inquiry.answered", inquiry_id=_text_id(inquiry), method=method.short_name)
        return answered.reply  # 7 speak

    def _time_budget(self, context: Context) -> float:
        # Read once: what remains follows the wall clock, and waiting is counted on the monotonic one.
        remaining = context.time_remaining()
        return self._answer_seconds if remaining is None else min(remaining, self._answer_seconds)

    async def _refuse(self, method: Method, context: Context, visit: CallState, error: BaseException) -> bytes:
        refusal = refusal_for(error)
        if not isinstance(error, Refusal):
            log.error("inquiry.failed", method=method.short_name, error=type(error).__name__)
        refusal = await self._recorded(visit, refusal)
        self._metrics.refused(method.short_name, refusal)
        inquiry_id = _text_id(visit.inquiry) if visit.inquiry else None
        log.info("inquiry.refused", inquiry_id=inquiry_id, method=method.short_name, reason=refusal.reason.value)
        if visit.inquiry and refusal.reason in THROTTLED_REASONS:
            most = min(self._time_budget(context) / 2, MAX_REFUSAL_DELAY_SECONDS)
            await asyncio.sleep(self._pace.delay(visit.inquiry.caller.organization_id, most))
        return await abort(context, refusal, (*_trailer(visit), *self._retry(refusal)))

    def _retry(self, refusal: Refusal) -> tuple[tuple[str, str], ...]:
        """What the caller's gRPC is told of asking again by itself."""
        if refusal.reason in TRANSIENT_REASONS and not self._relays:
            return ()
        seconds = refusal.retry_seconds or 0.0
        if refusal.reason in THROTTLED_REASONS and seconds <= MAX_RETRY_HINT_SECONDS and not self._relays:
            # Spread, so that those who were turned away together do not come back together.
            return ((_PUSHBACK, str(int(seconds * 1000 * random.uniform(1, 2)) + 1)),)  # noqa: S311 - no secret
        return ((_PUSHBACK, "-1"),)

    async def _recorded(self, visit: CallState, refusal: Refusal) -> Refusal:
        """Record *refusal*, if that is still owed and within the caller's budget; a failed record is a refusal too."""
        inquiry = visit.inquiry
        if inquiry is None or visit.submitted:
            return refusal
        try:
            self._refusal_quotas.acquire(inquiry.caller.organization_id, "refusals", self._refusals)
        except Refusal:
            self._metrics.unrecorded_refusal()
            return refusal
        out = refusal.reason is Reason.OUTAGE_ANNOUNCED
        try:
            seconds = OUTAGE_RECORD_TIMEOUT_SECONDS if out else self._answer_seconds
            await self._counter.record_refusal(replace(inquiry, refusal=refusal), seconds)
        except Refusal as worse:
            if not out:
                return worse
            # Recorded if that can be: until when it lasts is said all the same.
            self._metrics.unrecorded_refusal()
        return refusal


async def abort(context: Context, refusal: Refusal, trailer: tuple[tuple[str, str], ...] = ()) -> bytes:
    """End the call with *refusal*'s constant words and details."""
    return await _end(context, to_grpc(refusal), trailer)


async def _end(context: Context, status: grpc.Status, trailer: tuple[tuple[str, str], ...] = ()) -> bytes:
    await context.abort(status.code, status.details, (*status.trailing_metadata, *trailer))
    raise AbortError


def _text_id(inquiry: Inquiry) -> str:
    return str(inquiry.id)


def _purpose(metadata: Metadata, grant: Grant) -> Purpose:
    given: dict[str, str] = {}
    for key, value in metadata:
        if (name := PURPOSE_KEYS.get(key)) is None:
            continue
        if name in given or not isinstance(value, str) or not _PURPOSE_VALUE.fullmatch(value):
            wanted = "must be given once, as 1 to 64 of 0-9 A-Z a-z . _ : / -"
            raise Refusal(Reason.METADATA_MALFORMED, [Violation(key, "metadata.form", wanted)])
        given[name] = value
    for key in grant.demands:
        if PURPOSE_KEYS[key] not in given:
            raise Refusal(Reason.METADATA_REQUIRED, [Violation(key, "metadata.required", "is demanded by the grant")])
    return Purpose(**given)


def _trailer(visit: CallState) -> tuple[tuple[str, str], ...]:
    """What every caller may know, in fixed widths: the inquiry's id, its own id, the method's end, the quota."""
    if visit.inquiry is None:
        return ()
    trailer: list[tuple[str, str]] = [("estelam-inquiry-id", _text_id(visit.inquiry))]
    if visit.inquiry.purpose.correlation:
        trailer.append(("x-inquiry-id", visit.inquiry.purpose.correlation))
    if visit.grant is not None:
        trailer += metadata.deprecation_metadata(visit.grant.deprecated, visit.grant.sunset)
    if visit.bucket is not None:
        name = visit.inquiry.method.short_name
        state = rate_limit.bucket_state(visit.bucket, name)
        trailer.append(("ratelimit-policy", _policy(name, visit.bucket.quota)))
        trailer.append(("ratelimit", f'"{name}";r={state.remaining:09d};t={state.reset_seconds:09d}'))
    return tuple(trailer)


@lru_cache(maxsize=1024)
def _policy(name: str, granted: Quota) -> str:
    window = max(1, round(granted.burst / granted.rate))
    return f'"{name}";q={granted.burst};w={window}'
