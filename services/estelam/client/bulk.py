"""Bulk calls of one unary method: a bounded window of concurrent calls that adapts to refusals.

A refused request is deferred and sent again where that may help; a refusal is never taken for an answer. After
RESOURCE_EXHAUSTED no request is sent for as long as the service requires, and the window is halved; it grows again with
the replies.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc

from estelam.client.channel import describe_transport_error
from estelam.core.errors import Reason, Refusal
from estelam.core.grpc_status import from_grpc, retry_delay, status_code

UnaryCall = Callable[[bytes], Awaitable[bytes]]
"""Sends a serialized request and returns the serialized reply, or raises CallFailed."""

FIRST_REPLY_TIMEOUT_SECONDS = 5.0
"""How long a service that has not replied yet may be unreachable."""
MIN_PAUSE_SECONDS = 0.5
"""Shortest pause after RESOURCE_EXHAUSTED: an exhausted quota has regained more than one call by then."""
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 2.0

_TRANSIENT_CODES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
_PERMANENT_REASONS = {
    *(Reason.FIELD_INVALID, Reason.FIELD_UNKNOWN, Reason.REQUEST_MALFORMED, Reason.REQUEST_TOO_LARGE),
    Reason.NOTE_NOT_CONFIRMED,
}
"""Reasons that concern one request, and not the caller or the service."""


class CallFailed(Exception):  # noqa: N818 - a refusal is an outcome, not an error
    """A call ended without a reply.

    Args:
        code: The gRPC status.
        message: A constant text: no identifier is in it.
        refusal: The refusal, if a service of estelam sent it.
        retry_seconds: Seconds after which the sender allows a retry; None if it does not say.
    """

    def __init__(
        self, code: grpc.StatusCode, message: str, refusal: Refusal | None, retry_seconds: float | None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.refusal = refusal
        self.retry_seconds = retry_seconds

    @classmethod
    def refused(cls, refusal: Refusal) -> "CallFailed":
        """Return the failure of a call that was refused in this process."""
        return cls(status_code(refusal), refusal.summary(), refusal, refusal.retry_seconds)


def grpc_call(call: UnaryCall) -> UnaryCall:
    """Return *call*, which raises gRPC's errors, as one that raises CallFailed."""

    async def send(request: bytes) -> bytes:
        try:
            return await call(request)
        except grpc.RpcError as error:
            refusal = from_grpc(error)
            code = error.code() if isinstance(error, grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
            message = refusal.summary() if refusal else " / ".join(describe_transport_error(error))
            raise CallFailed(code, message, refusal, retry_delay(error)) from None

    return send


class StopReason(StrEnum):
    """Why a run ended before every request was answered."""

    RATE_LIMITED = "RATE_LIMITED"
    OUTAGE = "OUTAGE"
    UNAVAILABLE = "UNAVAILABLE"
    REFUSED = "REFUSED"
    UNPROVEN = "UNPROVEN"
    DEADLINE = "DEADLINE"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of a run before every request was answered."""

    reason: StopReason
    message: str
    """A constant text: no identifier is in it."""
    retry_seconds: float | None = None
    """Seconds after which to continue, if the service named a delay."""


class BulkCaller:
    """Calls one method over several connections in turn.

    Args:
        connections: A call of the method for each connection.
        window: Most concurrent calls.
        idle_timeout: Seconds without any reply after which the run stops.
        on_reply: Receives the request and the reply, both serialized, of each answered call; a `Stop` that it returns
            ends the run.
        on_refusal: Receives the request and a constant text for each failed call, whether it is sent again or not.
    """

    def __init__(
        self,
        connections: Sequence[UnaryCall],
        *,
        window: int,
        idle_timeout: float,
        on_reply: Callable[[bytes, bytes], Stop | None],
        on_refusal: Callable[[bytes, str], None],
    ) -> None:
        self._connections = connections
        self._window = window
        self._limit = 1  # one request goes first: a service that refuses the caller gets no burst
        self._idle_timeout = idle_timeout
        self._on_reply = on_reply
        self._on_refusal = on_refusal
        self._deferred: deque[bytes] = deque()
        self._pending: Iterator[bytes] = iter(())
        self._stop: Stop | None = None
        self._changed = asyncio.Event()
        self._in_flight = 0
        self._replies_since_growth = 0
        self._paused_until = self._last_reply = 0.0
        self._reached = False
        self._backoff = MIN_BACKOFF_SECONDS
        self._now = asyncio.get_running_loop().time

    async def run(self, requests: Iterable[bytes]) -> Stop | None:
        """Send all *requests*, serialized. Return after the last call has ended: the reason if the run ended early."""
        self._pending, self._last_reply = iter(requests), self._now()
        workers = [
            asyncio.create_task(self._worker(self._connections[number % len(self._connections)]))
            for number in range(self._window)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self._stop

    def stop(self, stop: Stop) -> None:
        """Send no more requests; calls in progress may still be answered."""
        self._stop = self._stop or stop
        self._wake()

    async def _worker(self, call: UnaryCall) -> None:
        while await self._acquire() and (request := self._next()):
            self._in_flight += 1
            try:
                reply = await call(request)
            except CallFailed as failure:
                self._handle_failure(request, failure)
            else:
                self._handle_reply(request, reply)
            finally:
                self._in_flight -= 1
        # A waiting worker may take this place in the window, or finds that nothing is left.
        self._wake()

    async def _acquire(self) -> bool:
        """Wait until one more request may be sent; return False after the run was stopped."""
        while self._stop is None:
            pause = self._paused_until - self._now()
            if pause <= 0 and self._in_flight < self._limit:
                return True
            try:
                async with asyncio.timeout(pause if pause > 0 else None):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return False

    def _next(self) -> bytes | None:
        # Deferred requests come last: one bad request must not delay the good ones.
        return next(self._pending, None) or (self._deferred.popleft() if self._deferred else None)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _handle_reply(self, request: bytes, reply: bytes) -> None:
        self._note_reply()
        self._backoff = MIN_BACKOFF_SECONDS
        if stop := self._on_reply(request, reply):
            self.stop(stop)
        self._replies_since_growth += 1
        if self._limit < self._window and self._replies_since_growth >= self._limit:
            self._limit, self._replies_since_growth = self._limit + 1, 0
            self._wake()

    def _handle_failure(self, request: bytes, failure: CallFailed) -> None:
        refusal, message, delay = failure.refusal, failure.message, failure.retry_seconds
        self._on_refusal(request, message)
        if refusal and refusal.reason in _PERMANENT_REASONS:
            self._note_reply()
            return
        self._deferred.append(request)
        if failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._reached = True
            self._throttle()
            self._pause(max(delay or 0.0, MIN_PAUSE_SECONDS), Stop(StopReason.RATE_LIMITED, message, delay))
        elif failure.code in _TRANSIENT_CODES:
            self._reached = self._reached or refusal is not None
            announced = refusal is not None and refusal.reason is Reason.OUTAGE_ANNOUNCED
            reason = StopReason.OUTAGE if announced else StopReason.UNAVAILABLE
            self._pause(self._back_off() if delay is None else delay, Stop(reason, message, delay))
        else:
            self.stop(Stop(StopReason.REFUSED, message))

    def _note_reply(self) -> None:
        self._last_reply = self._now()
        if not self._reached:
            self._reached, self._limit = True, self._window
            self._wake()

    def _throttle(self) -> None:
        # Once for each pause: calls in progress at the first refusal are refused for the same reason.
        if self._paused_until <= self._now():
            self._limit, self._replies_since_growth = max(1, self._limit // 2), 0

    def _back_off(self) -> float:
        if self._paused_until <= self._now():
            self._backoff = min(2 * self._backoff, MAX_BACKOFF_SECONDS)
        return self._backoff

    def _pause(self, seconds: float, otherwise: Stop) -> None:
        """Send nothing for *seconds*; stop with *otherwise* if the idle timeout ends before that."""
        self._paused_until = max(self._paused_until, self._now() + seconds)
        timeout = self._idle_timeout if self._reached else min(self._idle_timeout, FIRST_REPLY_TIMEOUT_SECONDS)
        if self._paused_until - self._last_reply > timeout:
            self.stop(otherwise)
