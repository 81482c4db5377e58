"""Request pipeline shared by all methods of all services.

1 authenticate, 2 authorize, 3 validate, 4 rate-limit, 5 look up, 6 record, 7 reply. Steps 5 and 6 share one transaction
(`estelam.pipeline.recorder`), or another service that records does them (the Setad adapter forwards its inquiries).
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import grpc
import structlog
import uuid_utils
from google.protobuf.message import Message
from grpc.aio import AbortError, ServicerContext

from estelam.auth import rate_limit
from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import Grant, Quota
from estelam.auth.rate_limit import RateLimiter, RefusalThrottle, TokenBucket
from estelam.core import validation
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import to_grpc
from estelam.core.model import Answer, Inquiry, Method, Outcome
from estelam.pipeline.batcher import is_cancelled
from estelam.pipeline.metadata import parse_purpose, reply_metadata
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.recorder import refusal_for
from estelam.telemetry.metrics import Metrics

log = structlog.get_logger()

Context = ServicerContext[Any, Any]
Handler = Callable[[bytes, Context], Awaitable[bytes]]
RequestParser = Callable[[type[Message], bytes], Message]
"""Parses and validates the bytes of a request, or raises a Refusal."""

# Faults that may be over within a second: the caller's gRPC library may retry on its own schedule.
TRANSIENT_REASONS = frozenset({Reason.STORE_UNAVAILABLE, Reason.SERVICE_FAILED})
# Too many calls: the reply states when to retry. Every other refusal forbids automatic retries; so does every refusal
# of a service that forwards, since it has retried already and the attempts would multiply.
THROTTLED_REASONS = frozenset({Reason.OVERLOADED, Reason.QUOTA_EXHAUSTED})
MAX_RETRY_HINT_SECONDS = 5.0
# The longest delay of a throttled refusal to a caller who keeps sending.
MAX_REFUSAL_DELAY_SECONDS = 2.0
# How long a refusal during an announced outage waits for its record: the store may be what is out of operation.
OUTAGE_RECORD_TIMEOUT_SECONDS = 1.0
_PUSHBACK = "grpc-retry-pushback-ms"


class AnswerBackend(Protocol):
    """Performs steps 5 and 6."""

    async def answer(self, inquiry: Inquiry, seconds: float) -> Answer:
        """Return the recorded answer within *seconds*, or raise a Refusal."""

    async def record_refusal(self, inquiry: Inquiry, seconds: float) -> None:
        """Record the refusal of *inquiry* within *seconds*, or raise a Refusal."""


@dataclass(slots=True)
class CallState:
    """What is known of one call so far: the inquiry after step 1, the grant after step 2, the bucket in step 4."""

    inquiry: Inquiry | None = None
    grant: Grant | None = None
    bucket: TokenBucket | None = None
    submitted: bool = False
    """Whether step 5 has begun: from here on the backend records both answers and refusals."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The trailing metadata of the reply."""
        return reply_metadata(self.inquiry, self.grant, self.bucket)


class InquiryHandler:
    """Runs the pipeline for each inquiry. Any fault becomes a refusal, never an answer."""

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
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._outages = outages
        self._backend = backend
        self._metrics = metrics
        self._clock = clock
        self._request_timeout_seconds = request_timeout_seconds
        self._is_forwarding = is_forwarding
        self._rate_limiter = RateLimiter(clock)
        # Refusals are recorded too, limited for each caller, so that no caller can fill the disk with them.
        self._refusal_record_quota = refusal_record_quota
        self._refusal_record_limiter = RateLimiter(clock)
        self._refusal_throttle = RefusalThrottle(clock)
        self._fallback_status = to_grpc(Refusal(Reason.SERVICE_FAILED))

    def handler(self, method: Method, parse: RequestParser = validation.parse_request) -> Handler:
        """Return the function that serves *method*: bytes in, bytes out; it raises only gRPC's own abort.

        Args:
            method: The method to serve.
            parse: Parses a request in step 3; another frontend than gRPC passes its own parser.
        """

        async def handle(wire: bytes, context: Context) -> bytes:
            try:
                return await self._run(method, partial(parse, method.request, wire), context)
            except BaseException as error:
                # The last handler of errors: a fault while refusing ends the call with a status that was built at the
                # start.
                if isinstance(error, AbortError) or is_cancelled(error):
                    raise
                with contextlib.suppress(Exception):
                    log.error("refusal.failed", method=method.short_name, error=type(error).__name__)
                return await _end(context, self._fallback_status)

        return handle

    async def _run(self, method: Method, parse: Callable[[], Message], context: Context) -> bytes:
        call = CallState()
        try:
            reply = await self._process(method, parse, context, call)
            context.set_trailing_metadata(call.metadata())
        except BaseException as error:
            if is_cancelled(error):
                raise
            return await self._refuse(method, context, call, error)
        return reply

    async def _process(self, method: Method, parse: Callable[[], Message], context: Context, call: CallState) -> bytes:
        received_at = self._clock.monotonic()
        seconds = self._time_budget(context)
        metadata = context.invocation_metadata() or ()
        certificate = self._authenticator.authenticate(context, metadata)  # 1 authenticate
        caller = certificate.caller()
        inquiry = Inquiry(uuid_utils.uuid7(), method, caller, received_at)
        call.inquiry = inquiry
        self._authenticator.revocation.check(certificate)
        grant = call.grant = self._authorizer.authorize(caller, method)  # 2 authorize
        inquiry.purpose = parse_purpose(metadata, grant)  # 3 validate
        inquiry.request = parse()
        call.bucket = self._rate_limiter.bucket(caller.organization_id, method.short_name, grant.quota)
        rate_limit.acquire(call.bucket, method.short_name)  # 4 rate-limit
        self._outages.check(method.service)  # an announced outage ends the pipeline here
        call.submitted = True
        answer = await self._backend.answer(inquiry, seconds)  # 5 look up, 6 record
        if answer.outcome is Outcome.NO:
            rate_limit.charge_miss(call.bucket)
        self._metrics.record_answer(method.short_name, answer.outcome, self._clock.monotonic() - received_at)
        log.debug("inquiry.answered", inquiry_id=str(inquiry.id), method=method.short_name)
        return answer.reply  # 7 reply

    def _time_budget(self, context: Context) -> float:
        # Read once: gRPC computes the remaining time on the wall clock; waiting is measured on the monotonic clock.
        remaining = context.time_remaining()
        return self._request_timeout_seconds if remaining is None else min(remaining, self._request_timeout_seconds)

    async def _refuse(self, method: Method, context: Context, call: CallState, error: BaseException) -> bytes:
        refusal = refusal_for(error)
        if not isinstance(error, Refusal):
            log.error("inquiry.failed", method=method.short_name, error=type(error).__name__)
        refusal = await self._record(call, refusal)
        self._metrics.record_refusal(method.short_name, refusal)
        inquiry_id = str(call.inquiry.id) if call.inquiry else None
        log.info("inquiry.refused", inquiry_id=inquiry_id, method=method.short_name, reason=refusal.reason.value)
        if call.inquiry and refusal.reason in THROTTLED_REASONS:
            most = min(self._time_budget(context) / 2, MAX_REFUSAL_DELAY_SECONDS)
            await asyncio.sleep(self._refusal_throttle.delay(call.inquiry.caller.organization_id, most))
        return await abort(context, refusal, (*call.metadata(), *self._retry_metadata(refusal)))

    def _retry_metadata(self, refusal: Refusal) -> tuple[tuple[str, str], ...]:
        """Return gRPC's retry pushback: when the caller's library may retry by itself; negative forbids it."""
        if refusal.reason in TRANSIENT_REASONS and not self._is_forwarding:
            return ()
        seconds = refusal.retry_seconds or 0.0
        if refusal.reason in THROTTLED_REASONS and seconds <= MAX_RETRY_HINT_SECONDS and not self._is_forwarding:
            # Spread at random, so that callers who were refused together do not retry together.
            return ((_PUSHBACK, str(int(seconds * 1000 * random.uniform(1, 2)) + 1)),)  # noqa: S311 - no secret
        return ((_PUSHBACK, "-1"),)

    async def _record(self, call: CallState, refusal: Refusal) -> Refusal:
        """Record *refusal* unless the backend has done so or the caller's limit is exhausted; return the one to send.

        If recording fails, the failure is the refusal to send.
        """
        inquiry = call.inquiry
        if inquiry is None or call.submitted:
            return refusal
        try:
            caller = inquiry.caller.organization_id
            self._refusal_record_limiter.acquire(caller, "refusals", self._refusal_record_quota)
        except Refusal:
            self._metrics.record_unrecorded_refusal()
            return refusal
        in_outage = refusal.reason is Reason.OUTAGE_ANNOUNCED
        try:
            seconds = OUTAGE_RECORD_TIMEOUT_SECONDS if in_outage else self._request_timeout_seconds
            await self._backend.record_refusal(replace(inquiry, refusal=refusal), seconds)
        except Refusal as failure:
            if not in_outage:
                return failure
            # The caller gets the end of the outage even where the refusal can't be recorded.
            self._metrics.record_unrecorded_refusal()
        return refusal


async def abort(context: Context, refusal: Refusal, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    """End the call with the constant text and the details of *refusal*, and with trailing *metadata*."""
    return await _end(context, to_grpc(refusal), metadata)


async def _end(context: Context, status: grpc.Status, metadata: tuple[tuple[str, str], ...] = ()) -> bytes:
    await context.abort(status.code, status.details, (*status.trailing_metadata, *metadata))
    raise AbortError
