"""Calls over gRPC, and what is seen of each: status, words, trailers, reply. Nothing is tried twice."""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc

from conformance.case import Instance
from conformance.target import Target
from estelam.client.channel import direct_channel

Metadata = Sequence[tuple[str, str | bytes]]
Opener = Callable[[Target, Instance, str], Any]
"""Opens a channel to an instance under a certificate."""

MAX_REPLY_BYTES = 1 << 20
_STATUSES = {code.name for code in grpc.StatusCode}
_NOT_SENT = "Invalid metadata"
_CONNECTION_LOST = re.compile(
    r"failed to connect|handshake|socket closed|connection reset|broken pipe|recvmsg", re.IGNORECASE
)


class NotSent(Exception):  # noqa: N818 - what happened, not whose fault
    """The call could not be made, so nothing is known about the target; the text says why."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of one call."""

    status: str
    """The gRPC status; without one, CLOSED, HTTP, OPEN or GARBAGE."""
    message: str = ""
    reply: bytes | None = None
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    initial_metadata: tuple[tuple[str, str | bytes], ...] = ()
    ended_at: float = 0.0
    """When it ended, in seconds since 1970 by this machine's clock."""
    closed: bool = False
    """Whether the connection was refused or closed without a response."""
    is_http: bool = False
    """Whether it came from a JSON API, which has no pushback and no state of a quota in its details."""

    @property
    def is_refusal(self) -> bool:
        """Whether the target refused the call: it sent a status, and not OK."""
        return self.status in _STATUSES - {"OK", "DEADLINE_EXCEEDED"} and not self.closed

    def trailer(self, key: str) -> str | bytes | None:
        """Return the trailer *key*, if it was sent exactly once."""
        values = self.trailers_of(key)
        return values[0] if len(values) == 1 else None

    def trailers_of(self, key: str) -> list[str | bytes]:
        """Return every value of the trailer *key*."""
        return [value for name, value in self.trailers if name == key]

    def seen(self, key: str) -> str:
        """Describe the values of the trailer *key*."""
        return ", ".join(f"seen {str(value)[:80]}" for value in self.trailers_of(key)) or "seen none"

    def text(self, key: str) -> str:
        """Return the text trailer *key*, or an empty string."""
        value = self.trailer(key)
        return value if isinstance(value, str) else ""


def open_channel(target: Target, instance: Instance, caller: str) -> grpc.Channel:
    """Open a channel with its own connection and without retries."""
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        ("grpc.max_metadata_size", 65536),
        ("grpc.absolute_max_metadata_size", 65536),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    return direct_channel(target.addresses[instance], target.credentials(caller), options)


class Channels:
    """Pool of one channel for each instance and caller, opened on first use."""

    def __init__(self, target: Target, opener: Opener = open_channel) -> None:
        self._target = target
        self._opener = opener
        self._lock = threading.Lock()
        self._open: dict[tuple[Instance, str], Any] = {}
        self._single: list[Any] = []

    def shared(self, instance: Instance, caller: str) -> Any:
        """Return the channel that all steps of a caller share."""
        with self._lock:
            key = instance, caller
            if key not in self._open:
                self._open[key] = self._opener(self._target, instance, caller)
            return self._open[key]

    def fresh(self, instance: Instance, caller: str) -> Any:
        """Open a channel with a new connection; it is closed with the pool."""
        channel = self._opener(self._target, instance, caller)
        with self._lock:
            self._single.append(channel)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for channel in (*self._open.values(), *self._single):
            channel.close()


def call_method(
    channel: Any, path: str, payload: bytes, *, metadata: Metadata, timeout: float, times: int = 1
) -> list[CallResult]:
    """Make *times* concurrent calls and return their results.

    Raises:
        NotSent: gRPC refuses to send the metadata.
    """
    call = channel.unary_unary(path)
    pending = [call.future(payload, timeout=timeout, metadata=_encoded(metadata)) for _ in range(times)]
    return [_result(each) for each in pending]


WATCH_SECONDS = 0.3
"""How long a Watch must remain open after its first message."""


def watch_health(channel: Any, path: str, payload: bytes, *, timeout: float) -> CallResult:
    """Call Watch of the health service and return its first message, or how the call ended, which it must not."""
    call = channel.unary_stream(path)(payload, timeout=timeout)
    try:
        reply = next(call)
    except (grpc.RpcError, StopIteration):
        return CallResult(call.code().name, call.details() or "", ended_at=time.time())
    time.sleep(WATCH_SECONDS)
    if not call.is_active():
        return CallResult(call.code().name, "ended after its first message", ended_at=time.time())
    call.cancel()
    return CallResult("OK", reply=reply, ended_at=time.time())


def _encoded(metadata: Metadata) -> list[tuple[str, str | bytes]]:
    return [(key, _binary(value) if key.endswith("-bin") else value) for key, value in metadata]


def _binary(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _result(call: Any) -> CallResult:
    try:
        reply = call.result()
    except grpc.RpcError:
        reply = None
    code, message = call.code(), call.details() or ""
    trailers = tuple((key, value) for key, value in call.trailing_metadata() or ())
    if code is grpc.StatusCode.INTERNAL and message == _NOT_SENT:
        raise NotSent("gRPC refuses to send this metadata")
    unavailable = code is grpc.StatusCode.UNAVAILABLE and not trailers
    return CallResult(
        status=code.name,
        message=message,
        reply=reply,
        trailers=trailers,
        initial_metadata=tuple((key, value) for key, value in call.initial_metadata() or ()),
        ended_at=time.time(),
        closed=unavailable and bool(_CONNECTION_LOST.search(message)),
        is_http=getattr(call, "is_http", False),
    )
