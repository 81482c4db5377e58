"""Many questions through one unary method: a bounded window of calls under way, and manners when the service declines.

A question is set aside and asked again where that may help; it never becomes an answer. When the
service says that it is too much (RESOURCE_EXHAUSTED), nothing is asked for as long as it wishes, the window is halved,
and it grows again answer by answer.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc

from estelam.client.channel import describe_transport_error
from estelam.core.errors import Reason
from estelam.core.grpc_status import from_grpc, retry_delay

UnaryCall = Callable[[bytes], Awaitable[bytes]]

FIRST_REPLY_TIMEOUT_SECONDS = 5.0
"""How long a service may be out of reach that was never reached."""
MIN_PAUSE_SECONDS = 0.5
"""The least rest after RESOURCE_EXHAUSTED: a quota that was just used up has room for more than one call by then."""
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 2.0

_TRANSIENT_CODES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
_PERMANENT_REASONS = {Reason.FIELD_INVALID, Reason.FIELD_UNKNOWN, Reason.REQUEST_MALFORMED, Reason.REQUEST_TOO_LARGE}


class StopReason(StrEnum):
    """Why no more is asked."""

    RATE_LIMITED = "RATE_LIMITED"
    OUTAGE = "OUTAGE"
    UNAVAILABLE = "UNAVAILABLE"
    REFUSED = "REFUSED"
    UNPROVEN = "UNPROVEN"
    DEADLINE = "DEADLINE"
    INTERRUPTED = "INTERRUPTED"


@dataclass(frozen=True, slots=True)
class Stop:
    """The end of asking before all was asked; *words* are constant, *again* says in how many seconds to go on."""

    reason: StopReason
    message: str
    retry_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """What is asked: *key* says which one it is, *request* goes over the wire."""

    key: str
    request: bytes


class BulkCaller:
    """Asks over *connections* in turn.

    *take* gets each reply as it came, and may end it all; *decline* gets the words with which a question was not
    answered, for good or so far. *patience* is how many seconds may pass without any reply.
    """

    def __init__(
        self,
        connections: Sequence[UnaryCall],
        *,
        window: int,
        idle_timeout: float,
        on_reply: Callable[[str, bytes], Stop | None],
        on_refusal: Callable[[str, str], None],
    ) -> None:
        self._connections = connections
        self._window = window
        self._limit = 1  # one question goes ahead: a service that refuses us is not stormed
        self._idle_timeout = idle_timeout
        self._on_reply = on_reply
        self._on_refusal = on_refusal
        self._deferred: deque[BulkRequest] = deque()
        self._pending: Iterator[BulkRequest] = iter(())
        self._stop: Stop | None = None
        self._changed = asyncio.Event()
        self._in_flight = 0
        self._replies_since_growth = 0
        self._paused_until = self._last_reply = 0.0
        self._reached = False
        self._backoff = MIN_BACKOFF_SECONDS
        self._now = asyncio.get_running_loop().time

    async def run(self, questions: Iterable[BulkRequest]) -> Stop | None:
        """Ask all *questions*; returns why it ended early, if it did, once no call is under way any more."""
        self._pending, self._last_reply = iter(questions), self._now()
        lanes = [
            asyncio.create_task(self._worker(self._connections[number % len(self._connections)]))
            for number in range(self._window)
        ]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
        return self._stop

    def stop(self, stop: Stop) -> None:
        """Ask no more; calls under way may still be answered."""
        self._stop = self._stop or stop
        self._wake()

    async def _worker(self, ask: UnaryCall) -> None:
        while await self._acquire() and (question := self._next()):
            self._in_flight += 1
            try:
                reply = await ask(question.request)
            except grpc.RpcError as error:
                self._handle_error(question, error)
            else:
                self._handle_reply(question, reply)
            finally:
                self._in_flight -= 1
        # Whoever waits for a place in the window may have it, or sees that there is nothing left.
        self._wake()

    async def _acquire(self) -> bool:
        """Wait until one more may be asked; False once nothing more is."""
        while self._stop is None:
            rest = self._paused_until - self._now()
            if rest <= 0 and self._in_flight < self._limit:
                return True
            try:
                async with asyncio.timeout(rest if rest > 0 else None):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return False

    def _next(self) -> BulkRequest | None:
        # What was set aside comes last: one bad question must not hold up the good ones.
        return next(self._pending, None) or (self._deferred.popleft() if self._deferred else None)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _handle_reply(self, question: BulkRequest, reply: bytes) -> None:
        self._note_reply()
        self._backoff = MIN_BACKOFF_SECONDS
        if stop := self._on_reply(question.key, reply):
            self.stop(stop)
        self._replies_since_growth += 1
        if self._limit < self._window and self._replies_since_growth >= self._limit:
            self._limit, self._replies_since_growth = self._limit + 1, 0
            self._wake()

    def _handle_error(self, question: BulkRequest, error: grpc.RpcError) -> None:
        refusal = from_grpc(error)
        code = error.code() if isinstance(error, grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
        words = refusal.summary() if refusal else describe_transport_error(error)
        self._on_refusal(question.key, words)
        if refusal and refusal.reason in _PERMANENT_REASONS:
            self._note_reply()
            return
        self._deferred.append(question)
        asked = retry_delay(error)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._reached = True
            self._throttle()
            self._pause(max(asked or 0.0, MIN_PAUSE_SECONDS), Stop(StopReason.RATE_LIMITED, words, asked))
        elif code in _TRANSIENT_CODES:
            self._reached = self._reached or refusal is not None
            announced = refusal is not None and refusal.reason is Reason.OUTAGE_ANNOUNCED
            why = StopReason.OUTAGE if announced else StopReason.UNAVAILABLE
            self._pause(self._back_off() if asked is None else asked, Stop(why, words, asked))
        else:
            self.stop(Stop(StopReason.REFUSED, words))

    def _note_reply(self) -> None:
        self._last_reply = self._now()
        if not self._reached:
            self._reached, self._limit = True, self._window
            self._wake()

    def _throttle(self) -> None:
        # Once for each rest: what was under way when the first call was declined is declined for the same reason.
        if self._paused_until <= self._now():
            self._limit, self._replies_since_growth = max(1, self._limit // 2), 0

    def _back_off(self) -> float:
        if self._paused_until <= self._now():
            self._backoff = min(2 * self._backoff, MAX_BACKOFF_SECONDS)
        return self._backoff

    def _pause(self, seconds: float, otherwise: Stop) -> None:
        """Ask nothing for *seconds*; where that is longer than patience lasts, ask no more."""
        self._paused_until = max(self._paused_until, self._now() + seconds)
        patience = self._idle_timeout if self._reached else min(self._idle_timeout, FIRST_REPLY_TIMEOUT_SECONDS)
        if self._paused_until - self._last_reply > patience:
            self.stop(otherwise)
