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

Metadata = Sequence[tuple[str, str | bytes]]
Opener = Callable[[Target, Instance, str], Any]
"""Opens a channel to an instance under a certificate."""

MAX_REPLY_BYTES = 1 << 20
_NOT_SENT = "Invalid metadata"
_NOTHING_SAID = re.compile(
    r"failed to connect|handshake|socket closed|connection reset|broken pipe|recvmsg", re.IGNORECASE
)


class NotSent(Exception):  # noqa: N818 - what happened, not whose fault
    """The call could not be made at all, so nothing is known of the target; the text says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one call."""

    status: str
    """The gRPC status, or CLOSED, HTTP, OPEN or GARBAGE where no gRPC status came."""
    message: str = ""
    reply: bytes | None = None
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    at: float = 0.0
    """When it ended, by this machine's clock."""
    closed: bool = False
    """Whether the connection was refused or ended without a word."""

    def trailer(self, key: str) -> str | bytes | None:
        """The trailer of this name, if it came exactly once."""
        values = [value for name, value in self.trailers if name == key]
        return values[0] if len(values) == 1 else None

    def text(self, key: str) -> str:
        """The text trailer of this name, or nothing."""
        value = self.trailer(key)
        return value if isinstance(value, str) else ""


def open_channel(target: Target, instance: Instance, caller: str) -> grpc.Channel:
    """A connection of its own, which tries nothing again."""
    options = [
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        ("grpc.max_metadata_size", 65536),
        ("grpc.absolute_max_metadata_size", 65536),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    return grpc.secure_channel(target.addresses[instance], target.credentials(caller), options=options)


class Channels:
    """One channel for each instance and caller, opened when first needed."""

    def __init__(self, target: Target, opener: Opener = open_channel) -> None:
        self._target = target
        self._opener = opener
        self._turn = threading.Lock()
        self._open: dict[tuple[Instance, str], Any] = {}
        self._single: list[Any] = []

    def shared(self, instance: Instance, caller: str) -> Any:
        """The channel that all of a caller's steps go over."""
        with self._turn:
            key = instance, caller
            if key not in self._open:
                self._open[key] = self._opener(self._target, instance, caller)
            return self._open[key]

    def fresh(self, instance: Instance, caller: str) -> Any:
        """A channel of a connection that nobody used before; it is closed with the rest."""
        channel = self._opener(self._target, instance, caller)
        with self._turn:
            self._single.append(channel)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for channel in (*self._open.values(), *self._single):
            channel.close()


def ask(channel: Any, path: str, payload: bytes, *, metadata: Metadata, timeout: float, times: int = 1) -> list[Seen]:
    """Make the call so many *times* at once.

    Raises:
        NotSent: gRPC would not send it.
    """
    call = channel.unary_unary(path)
    waiting = [call.future(payload, timeout=timeout, metadata=_sent(metadata)) for _ in range(times)]
    return [_outcome(each) for each in waiting]


def _sent(metadata: Metadata) -> list[tuple[str, str | bytes]]:
    return [(key, _binary(value) if key.endswith("-bin") else value) for key, value in metadata]


def _binary(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _outcome(call: Any) -> Seen:
    try:
        reply = call.result()
    except grpc.RpcError:
        reply = None
    code, message = call.code(), call.details() or ""
    trailers = tuple((key, value) for key, value in call.trailing_metadata() or ())
    if code is grpc.StatusCode.INTERNAL and message == _NOT_SENT:
        raise NotSent("gRPC does not send such metadata")
    unavailable = code is grpc.StatusCode.UNAVAILABLE and not trailers
    return Seen(
        status=code.name,
        message=message,
        reply=reply,
        trailers=trailers,
        at=time.time(),
        closed=unavailable and bool(_NOTHING_SAID.search(message)),
    )
