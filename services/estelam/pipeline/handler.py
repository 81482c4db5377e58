"""Request pipeline shared by all methods of all services.

1 authenticate, 2 authorize, 3 validate, 4 rate-limit, 5 look up, 6 record, 7 reply. Steps 1 to 4 run at once, in the
thread that the call arrived in. Steps 5 and 6 share one transaction (`estelam.pipeline.recorder`), or another service
that records does them (the Setad adapter forwards its inquiries). Their result comes back by a callback, in any thread,
which replies. So a call holds no thread while it waits.
"""

import contextlib
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import structlog
import uuid_utils
from google.protobuf.message import Message

from estelam.auth import rate_limit
from estelam.auth.authentication import Authenticator
from estelam.auth.authorization import Authorizer
from estelam.auth.grants import Grant, Quota
from estelam.auth.rate_limit import RateLimiter, TokenBucket
from estelam.core import validation
from estelam.core.clock import Clock
from estelam.core.errors import MAX_PUSHBACK_SECONDS, Pushback, Reason, Refusal
from estelam.core.model import Answer, Inquiry, Method, Outcome
from estelam.pipeline.metadata import parse_nonce, parse_purpose, parse_traceparent, reply_metadata
from estelam.pipeline.outages import OutageSchedule
from estelam.pipeline.pacer import Pacer
from estelam.pipeline.recorder import refusal_for
from estelam.pipeline.timers import Timers
from estelam.telemetry.call_counts import is_probe
from estelam.telemetry.metrics import Metrics
from estelam.telemetry.traces import CallSpan, NoTracing, Tracing, Untraced

log = structlog.get_logger()

Notify = Callable[[], None]
RequestParser = Callable[[type[Message], bytes], Message]
"""Parses and validates the bytes of a request, or raises a Refusal."""

# How long a refusal during an announced outage waits for its record: the store may be what is out of operation.
OUTAGE_RECORD_TIMEOUT_SECONDS = 1.0
_PUSHBACK = "grpc-retry-pushback-ms"


class Call(Protocol):
    """A call that waits for its reply, over gRPC or HTTP. Its methods may be called in any thread."""

    @property
    def metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """The request's metadata."""

    @property
    def owner(self) -> Hashable:
        """Whose share of calls and refusals it takes, as `Authenticator.owner` found on arrival."""

    @property
    def request(self) -> bytes | None:
        """The request's bytes; None if the caller sent no whole message."""

    @property
    def seconds_left(self) -> float:
        """Seconds to the caller's deadline; very many without one."""

    def certificates(self) -> Sequence[bytes]:
        """Return the certificate (PEM) of the caller's connection; nothing if it has none."""

    def on_end(self, notify: Notify) -> None:
        """Call *notify* when the call has ended, perhaps because the caller gave up."""

    def reply(self, message: bytes, metadata: Iterable[tuple[str, str]]) -> None:
        """End the call with *message* and trailing *metadata*."""

    def refuse(self, refusal: Refusal, metadata: Iterable[tuple[str, str]]) -> None:
        """End the call with the status and the details of *refusal*, and with trailing *metadata*."""

    def fail(self) -> None:
        """End the call with SERVICE_FAILED, unless it has ended."""


Handler = Callable[[Call], None]
"""Serves a call: returns soon, and ends the call at some time. It raises nothing."""


class AnswerBackend(Protocol):
    """Performs steps 5 and 6."""

    def answer(self, inquiry: Inquiry, seconds: float, done: Callable[[Answer | Exception], None]) -> Notify:
        """Pass the recorded answer, a Refusal or another error to *done*, once, within *seconds*, in any thread.

        Return what to call if the caller waits no more.

        Raises:
            Refusal: the inquiry can't even wait.
        """

    def record_refusal(self, inquiry: Inquiry, seconds: float, done: Callable[[Refusal | None], None]) -> None:
        """Record the refusal of *inquiry* within *seconds*; pass None to *done*, or the Refusal that tells why not."""


BackendWrapper = Callable[[AnswerBackend, Timers], AnswerBackend]
"""Makes a backend around another one."""


@dataclass(slots=True)
class Exchange:
    """One call and what is known of it: the inquiry after step 1, the grant after step 2, the bucket in step 4."""

    method: Method
    call: Call
    arrived_at: float
    """Monotonic time in seconds."""
    seconds: float
    """The time that the whole exchange may take."""
    inquiry: Inquiry | None = None
    grant: Grant | None = None
    bucket: TokenBucket | None = None
    is_charged: bool = False
    """Whether a token of the bucket has been taken, or step 4 has refused."""
    span: CallSpan = field(default_factory=Untraced)
    """Its place in the caller's trace."""
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
        rate_limiter: RateLimiter,
        backend: AnswerBackend,
        pacer: Pacer,
        metrics: Metrics,
        clock: Clock,
        request_timeout_seconds: float,
        refusal_record_quota: Quota,
        is_forwarding: bool = False,
        tracing: Tracing | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._outages = outages
        self._backend = backend
        self._pacer = pacer
        self._metrics = metrics
        self._clock = clock
        self._request_timeout_seconds = request_timeout_seconds
        self._is_forwarding = is_forwarding
        self._tracing = tracing or NoTracing()
        self._rate_limiter = rate_limiter
        # Refusals are recorded and logged, limited for each caller, so that no caller can fill the disk with them.
        self._refusal_record_quota = refusal_record_quota
        self._refusal_limiter = RateLimiter(clock)
        self._unlogged = 0
        """Refusals since the last one that was logged."""

    def handler(self, method: Method, parse: RequestParser = validation.parse_request) -> Handler:
        """Return the function that serves *method*.

        Args:
            method: The method to serve.
            parse: Parses a request in step 3; another frontend than gRPC passes its own parser.
        """

        def handle(call: Call) -> None:
            try:
                # gRPC computes the remaining time on the wall clock; waiting is measured on the monotonic clock.
                seconds = min(call.seconds_left, self._request_timeout_seconds)
                exchange = Exchange(method, call, self._clock.monotonic(), seconds)
            except BaseException as error:  # noqa: BLE001 - every call gets a reply
                _fail(call, method, error)
                return
            try:
                self._process(exchange, parse)
            except BaseException as error:  # noqa: BLE001 - any fault is a refusal
                self._refuse(exchange, error)

        return handle

    def _process(self, exchange: Exchange, parse: RequestParser) -> None:
        call, method = exchange.call, exchange.method
        exchange.span = self._tracing.start(method, parse_traceparent(call.metadata))
        certificate = self._authenticator.authenticate(call.certificates(), call.metadata)  # 1 authenticate
        caller = certificate.caller()
        inquiry = exchange.inquiry = Inquiry(uuid_utils.uuid7(), method, caller, exchange.arrived_at)
        inquiry.is_probe = self._is_forwarding and is_probe(call.metadata)
        self._authenticator.check_revocation(certificate)
        grant = exchange.grant = self._authorizer.authorize(caller, method)  # 2 authorize
        bucket = exchange.bucket = self._rate_limiter.bucket(caller.organization_id, method.short_name, grant.quota)
        inquiry.purpose = parse_purpose(call.metadata, grant)  # 3 validate
        inquiry.nonce = parse_nonce(call.metadata)
        inquiry.traceparent = exchange.span.traceparent
        if call.request is None:
            raise Refusal(Reason.REQUEST_MALFORMED)
        inquiry.request = parse(method.request, call.request)
        exchange.is_charged = True
        self._outages.check(method.service)  # an announced outage ends the pipeline here, and spends no quota
        rate_limit.acquire(bucket, method.short_name)  # 4 rate-limit
        exchange.submitted = True
        # 5 look up, 6 record
        call.on_end(self._backend.answer(inquiry, exchange.seconds, partial(self._answered, exchange)))

    def _answered(self, exchange: Exchange, result: Answer | Exception) -> None:
        try:
            if isinstance(result, Exception):
                # Not raised: its traceback would refer to this frame, which refers to it, until garbage is collected.
                self._refuse(exchange, result)
                return
            method, bucket = exchange.method.short_name, exchange.bucket
            if result.outcome is Outcome.NO and bucket is not None:
                rate_limit.charge_miss(bucket)
            self._metrics.record_answer(method, result.outcome, self._clock.monotonic() - exchange.arrived_at)
            log.debug("inquiry.answered", inquiry_id=str(exchange.inquiry and exchange.inquiry.id), method=method)
            exchange.span.end()
            exchange.call.reply(result.reply, exchange.metadata())  # 7 reply
        except BaseException as error:  # noqa: BLE001 - any fault is a refusal
            self._refuse(exchange, error)

    def _refuse(self, exchange: Exchange, error: BaseException) -> None:
        """Record the refusal that *error* means, unless the backend has done so, then send it."""
        method = exchange.method
        try:
            refusal = refusal_for(error)
            if exchange.bucket is not None and not exchange.is_charged:
                rate_limit.charge_refusal(exchange.bucket)
            if not isinstance(error, Refusal):
                log.error("inquiry.failed", method=method.short_name, error=type(error).__name__)
            if exchange.inquiry is None or exchange.submitted or not self._may_record(exchange.call.owner):
                self._conclude(exchange, refusal)
                return
            in_outage = refusal.reason is Reason.OUTAGE_ANNOUNCED
            seconds = OUTAGE_RECORD_TIMEOUT_SECONDS if in_outage else self._request_timeout_seconds
            inquiry, exchange.submitted = replace(exchange.inquiry, refusal=refusal), True
            self._backend.record_refusal(inquiry, seconds, partial(self._recorded, exchange, refusal))
        except Refusal as failure:  # the queue is full
            self._recorded(exchange, refusal, failure)
        except BaseException as fault:  # noqa: BLE001 - every call gets a reply
            _fail(exchange.call, method, fault)

    def _may_record(self, owner: Hashable) -> bool:
        if self._is_within_quota(owner, "records"):
            return True
        self._metrics.record_unrecorded_refusal()
        return False

    def _is_within_quota(self, owner: Hashable, use: str) -> bool:
        try:
            self._refusal_limiter.acquire(owner, use, self._refusal_record_quota)
        except Refusal:
            return False
        return True

    def _recorded(self, exchange: Exchange, refusal: Refusal, failure: Refusal | None) -> None:
        """Send *refusal* or, if it could not be recorded, the *failure*."""
        try:
            if failure is not None and refusal.reason is Reason.OUTAGE_ANNOUNCED:
                # The caller gets the end of the outage even where the refusal can't be recorded.
                self._metrics.record_unrecorded_refusal()
                failure = None
            self._conclude(exchange, failure or refusal)
        except BaseException as fault:  # noqa: BLE001 - every call gets a reply
            _fail(exchange.call, exchange.method, fault)

    def _conclude(self, exchange: Exchange, refusal: Refusal) -> None:
        """Count *refusal*, log it if its caller is not refused too often, and send it in the caller's turn."""
        inquiry, method = exchange.inquiry, exchange.method.short_name
        self._metrics.record_refusal(method, refusal)
        exchange.span.end(refusal)
        if self._is_within_quota(exchange.call.owner, "logs"):
            unlogged, self._unlogged = self._unlogged, 0
            log.info(
                "inquiry.refused",
                inquiry_id=inquiry and str(inquiry.id),
                method=method,
                reason=refusal.reason.value,
                unlogged=unlogged,
            )
        else:
            self._unlogged += 1
        seconds_left = exchange.seconds - (self._clock.monotonic() - exchange.arrived_at)
        self._pacer.run_in_turn(exchange.call.owner, seconds_left, partial(self._send, exchange, refusal))

    def _send(self, exchange: Exchange, refusal: Refusal) -> None:
        try:
            exchange.call.refuse(refusal, (*exchange.metadata(), *self._retry_metadata(refusal)))
        except BaseException as fault:  # noqa: BLE001 - every call gets a reply
            _fail(exchange.call, exchange.method, fault)

    def _retry_metadata(self, refusal: Refusal) -> tuple[tuple[str, str], ...]:
        """Return gRPC's retry pushback: when the caller's library may retry by itself; negative forbids it."""
        # A service that forwards has retried already: the attempts would multiply.
        pushback = Pushback.FORBIDDEN if self._is_forwarding else refusal.spec.pushback
        if pushback is Pushback.FREE:
            return ()
        seconds = refusal.retry_seconds or 0.0
        if pushback is Pushback.DELAYED and seconds <= MAX_PUSHBACK_SECONDS:
            # Spread at random, so that callers who were refused together do not retry together.
            return ((_PUSHBACK, str(int(seconds * 1000 * random.uniform(1, 2)) + 1)),)  # noqa: S311 - no secret
        return ((_PUSHBACK, "-1"),)


def _fail(call: Call, method: Method, fault: BaseException) -> None:
    """End *call* after a *fault* while it was being refused, with a status that was built at the start."""
    with contextlib.suppress(Exception):
        log.error("refusal.failed", method=method.short_name, error=type(fault).__name__)
    call.fail()
