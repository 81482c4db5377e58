"""Passes an HTTP request through the inquiry handler: from its callback, in any thread, to the event loop."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from estelam.core.errors import Reason, Refusal, with_field
from estelam.pipeline.handler import Handler
from estelam.telemetry.call_counts import ANSWERED, reason_without_reply

Pairs = tuple[tuple[str, str], ...]


class CallRefused(Exception):  # noqa: N818 - a refusal is an outcome, not an error
    """The inquiry handler refused the call with *refusal*; *trailer* is the trailing metadata without gRPC's own."""

    def __init__(self, refusal: Refusal, trailer: Pairs) -> None:
        super().__init__(refusal.reason.value)
        self.refusal = refusal
        self.trailer = trailer


@dataclass(frozen=True, slots=True)
class CallReply:
    """The handler's serialized reply, and the trailing metadata without gRPC's own."""

    reply: bytes
    trailer: Pairs


Count = Callable[[Hashable, Pairs, str, float], None]
"""Counts a call by its owner and metadata, the reason of its end (`call_counts`), and seconds."""


@dataclass(frozen=True, slots=True)
class CountedHandler:
    """A handler of the pipeline, and what counts its calls."""

    handler: Handler
    count: Count
    owner: Callable[[Sequence[bytes], Pairs], Hashable]
    """Returns whose share a call takes, by the caller's certificate (PEM) and metadata."""


async def call_handler(
    counted: CountedHandler,
    body: bytes | None,
    *,
    certificate: bytes,
    metadata: Iterable[tuple[str, str]],
) -> CallReply:
    """Call the handler with the *body* of a request on behalf of the holder of *certificate* (PEM), and count the call.

    A request that is malformed has no body: like a gRPC call without a message it is refused, paced and charged.

    Raises:
        CallRefused: the handler refused the call.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[CallReply] = loop.create_future()

    def end(result: CallReply | CallRefused) -> None:
        loop.call_soon_threadsafe(_settle, ended, result)

    pairs = tuple(metadata)
    call = _HttpCall(body, certificate, pairs, counted.owner((certificate,), pairs), end)
    arrived_at, reason = time.monotonic(), ANSWERED
    counted.handler(call)
    try:
        return await ended
    except CallRefused as refused:
        reason = refused.refusal.reason
        raise
    except asyncio.CancelledError:
        call.cancel()
        reason = reason_without_reply(time.monotonic() - arrived_at)
        raise
    finally:
        counted.count(call.owner, call.metadata, reason, time.monotonic() - arrived_at)


def _settle(ended: "asyncio.Future[CallReply]", result: CallReply | CallRefused) -> None:
    if ended.done():
        return
    if isinstance(result, CallRefused):
        ended.set_exception(result)
    else:
        ended.set_result(result)


class _HttpCall:
    """A call of the pipeline that came by HTTP."""

    def __init__(
        self,
        request: bytes | None,
        certificate: bytes,
        metadata: Pairs,
        owner: Hashable,
        end: Callable[[CallReply | CallRefused], None],
    ) -> None:
        self.request = request
        self.metadata = metadata
        self.owner = owner
        self.seconds_left = math.inf
        """HTTP has no deadline, so the settings' limit applies."""
        self._certificate = certificate
        self._end = end
        self._on_end: Callable[[], None] = lambda: None

    def certificates(self) -> Sequence[bytes]:
        return (self._certificate,)

    def on_end(self, notify: Callable[[], None]) -> None:
        self._on_end = notify

    def cancel(self) -> None:
        """Tell the pipeline that nobody waits any more."""
        self._on_end()

    def reply(self, message: bytes, metadata: Iterable[tuple[str, str]]) -> None:
        self._end(CallReply(message, _public(metadata)))

    def refuse(self, refusal: Refusal, metadata: Iterable[tuple[str, str]]) -> None:
        self._end(CallRefused(with_field(refusal), _public(metadata)))

    def fail(self) -> None:
        self._end(CallRefused(Refusal(Reason.SERVICE_FAILED), ()))


def _public(trailer: Iterable[tuple[str, str]]) -> Pairs:
    return tuple((key, value) for key, value in trailer if not key.startswith("grpc-"))
