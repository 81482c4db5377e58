"""Calls below gRPC: over TLS by hand, with HTTP/2 frames that no client library would send."""

import base64
import binascii
import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

import grpc
import h2.errors
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from conformance.case import Trick
from conformance.client import MAX_REPLY_BYTES, NotSent, Seen
from estelam.client.channel import ClientIdentity

READ_BYTES = 65536
_GIANT = 65536
_SETTINGS = 4
_GARBAGE = b"estelam speaks no HTTP at all\r\n" * 4
_CODES = {str(code.value[0]): code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class Sending:
    """What a trick is played with."""

    address: str
    identity: ClientIdentity
    path: str
    payload: bytes
    metadata: tuple[tuple[str, str], ...]
    timeout: float


class Silent(Exception):  # noqa: N818 - what happened, not whose fault
    """The other side said nothing in time."""


def play(trick: Trick, sending: Sending) -> Seen:
    """What is seen of a call that is tampered with so.

    Raises:
        NotSent: the connection could not be made, or the trick can't be played on this target.
    """
    deadline = time.monotonic() + sending.timeout
    try:
        with contextlib.closing(connected(sending, deadline, tls=trick is not Trick.NO_TLS)) as opened:
            seen = _raw(trick, sending, opened, deadline) or converse(opened, sending, deadline, trick)
    except OSError as error:
        raise NotSent(f"no connection: {type(error).__name__}") from None
    except Silent:
        # As any gRPC client with this deadline would see it.
        seen = Seen("DEADLINE_EXCEEDED")
    return replace(seen, at=time.time(), closed=seen.status == "CLOSED")


def host_and_port(address: str) -> tuple[str, int]:
    """The two halves of host:port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def connected(sending: Sending, deadline: float, *, tls: bool = True) -> socket.socket:
    """A connection to the target.

    Raises:
        OSError: nobody takes it, or TLS fails.
    """
    host, port = host_and_port(sending.address)
    plain = socket.create_connection((host, port), timeout=_left(deadline))
    if not tls:
        return plain
    try:
        return sending.identity.ssl_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def converse(opened: socket.socket, sending: Sending, deadline: float, trick: Trick | None = None) -> Seen:
    """One call over HTTP/2, as it should be or tampered with.

    Raises:
        Silent: it does not end by *deadline*.
    """
    try:
        return _Conversation(opened, sending, deadline).play(trick)
    except ProtocolError:
        return Seen("GARBAGE", "what was said is no HTTP/2")


def _raw(trick: Trick, sending: Sending, opened: socket.socket, deadline: float) -> Seen | None:
    """The tricks that are no HTTP/2, and what is said to them."""
    if trick is Trick.GARBAGE_PREFACE:
        words = _GARBAGE
    elif trick is Trick.HTTP1:
        words = f"POST {sending.path} HTTP/1.1\r\nHost: {sending.address}\r\nContent-Length: 0\r\n\r\n".encode()
    elif trick is Trick.NO_TLS:
        words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    else:
        return None
    said = b""
    with contextlib.suppress(OSError):
        opened.sendall(words)
    try:
        while data := receive(opened, deadline):
            said = said or data
    except Silent:
        return Seen("OPEN", "the connection stays open")
    return Seen("HTTP" if said.startswith(b"HTTP/1") else "CLOSED")


def receive(opened: socket.socket, deadline: float) -> bytes:
    """The next bytes, or none where the connection is closed.

    Raises:
        Silent: nothing comes by *deadline*.
    """
    try:
        opened.settimeout(_left(deadline))
        return opened.recv(READ_BYTES)
    except TimeoutError:
        raise Silent from None
    except OSError:
        return b""


def _left(deadline: float) -> float:
    if (left := deadline - time.monotonic()) <= 0:
        raise Silent
    return left


def frame(payload: bytes, *, flag: int = 0, said: int | None = None) -> bytes:
    """A message with gRPC's prefix: a flag, and a length that need not be true."""
    return struct.pack(">BL", flag, len(payload) if said is None else said) + payload


@dataclass(slots=True)
class _Heard:
    """What has come on the call's stream so far."""

    headers: dict[str, str] = field(default_factory=dict)
    binary: list[tuple[str, str | bytes]] = field(default_factory=list)
    data: bytes = b""
    ended: bool = False
    reset: bool = False

    def add(self, headers: list[tuple[bytes, bytes]]) -> None:
        for raw_key, raw in headers:
            key, value = raw_key.decode("latin-1"), raw.decode("latin-1")
            self.headers[key] = value
            if not key.startswith((":", "grpc-status-details-bin")) and not key.endswith("-bin"):
                self.binary.append((key, value))
            elif key.endswith("-bin"):
                self.binary.append((key, _unbase64(value)))

    def seen(self) -> Seen:
        """As a gRPC client would tell it."""
        status, http = self.headers.get("grpc-status"), self.headers.get(":status", "")
        if status is not None:
            message = unquote(self.headers.get("grpc-message", ""))
            whole = self.data[:5] == frame(self.data[5:])[:5]
            reply = self.data[5:] if status == "0" and whole else None
            return Seen(_CODES.get(status, "UNKNOWN"), message, reply, tuple(self.binary))
        if self.headers:
            return Seen("HTTP", f"HTTP status {http}, and no grpc-status")
        return Seen("CLOSED", "reset" if self.reset else "")


def _unbase64(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        return b"\xff"


class _Conversation:
    """One HTTP/2 connection with one call on it."""

    def __init__(self, opened: socket.socket, sending: Sending, deadline: float) -> None:
        self._socket = opened
        self._sending = sending
        self._deadline = deadline
        self._h2 = H2Connection(
            H2Configuration(header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self._heard = _Heard()
        self._greeting = b""
        self._settled = self._acknowledged = self._gone = False

    def play(self, trick: Trick | None) -> Seen:
        """Make the call so, and tell what came."""
        self._h2.initiate_connection()
        self._flush()
        self._until(lambda: self._settled)
        if self._gone:
            return Seen("CLOSED")
        self._send(trick)
        if trick is Trick.RESET_MIDWAY:
            self._until(lambda: self._acknowledged)
            return Seen("CLOSED") if self._acknowledged else Seen("GARBAGE", "the connection did not outlive the reset")
        self._until(lambda: self._heard.ended or self._heard.reset)
        return self._heard.seen()

    def _send(self, trick: Trick | None) -> None:
        payload = self._sending.payload
        tampered = {
            Trick.TRUNCATED_FRAME: frame(payload)[: 5 + len(payload) // 2],
            Trick.LONGER_THAN_SAID: frame(payload, said=max(0, len(payload) - 1)),
            Trick.COMPRESSED_FLAG: frame(payload, flag=1),
            Trick.NO_MESSAGE: b"",
            Trick.TWO_MESSAGES: frame(payload) * 2,
            Trick.RESET_MIDWAY: frame(payload)[: 5 + len(payload) // 2],
        }
        data = tampered[trick] if trick in tampered else frame(payload)
        if len(data) > self._h2.outbound_flow_control_window:
            raise NotSent("the target takes no more than its window at once")
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, self._headers(trick), end_stream=not data)
        if trick is Trick.RESET_MIDWAY:
            self._h2.send_data(stream, data)
            self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            self._h2.ping(b"estelam?")
        elif trick is Trick.OVERSIZED_FRAME:
            self._flush()
            self._oversized(stream)
        elif data:
            room = self._h2.max_outbound_frame_size
            for start in range(0, len(data), room):
                self._h2.send_data(stream, data[start : start + room], end_stream=start + room >= len(data))
        self._flush()

    def _oversized(self, stream: int) -> None:
        size = self._h2.max_outbound_frame_size + 1
        if size >= 1 << 24:
            raise NotSent("the target takes frames of any size that HTTP/2 knows")
        head = size.to_bytes(3, "big") + bytes([0, 1]) + stream.to_bytes(4, "big")
        self._write(head + bytes(size))

    def _headers(self, trick: Trick | None) -> list[tuple[str, str]]:
        plain: Mapping[str, str] = {
            ":method": "GET" if trick is Trick.METHOD_GET else "POST",
            ":scheme": "https",
            ":path": self._sending.path,
            ":authority": self._sending.address,
            "te": "trailers",
            "content-type": "application/json" if trick is Trick.WRONG_CONTENT_TYPE else "application/grpc",
            "grpc-timeout": f"{int(self._sending.timeout * 1000)}m",
        }
        headers = [(key, value) for key, value in plain.items() if not (key == "te" and trick is Trick.NO_TE)]
        giant = [("x-giant", "g" * _GIANT)] if trick is Trick.GIANT_HEADER else []
        return [*headers, *self._sending.metadata, *giant]

    def _flush(self) -> None:
        self._write(self._h2.data_to_send())

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(_left(self._deadline))
            self._socket.sendall(data)
        except TimeoutError:
            raise Silent from None
        except OSError:
            pass  # it may have said why before it closed: what is left is read

    def _until(self, met: Callable[[], bool]) -> None:
        """Listen until *met*, or until the connection ends."""
        while not met() and not self._gone:
            data = receive(self._socket, self._deadline)
            if not data:
                self._gone = True
                return
            self._greeting = (self._greeting + data)[:4]
            if len(self._greeting) == 4 and self._greeting[3] != _SETTINGS:  # h2 would wait for the end of that frame
                raise ProtocolError("the first frame is no SETTINGS")
            for event in self._h2.receive_data(data):
                self._hear(event)
            self._flush()

    def _hear(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self._heard.add(event.headers)  # bytes, as header_encoding says
        elif isinstance(event, DataReceived):
            self._heard.data += event.data
            if len(self._heard.data) <= MAX_REPLY_BYTES:  # beyond it the window closes
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._heard.ended = True
        elif isinstance(event, StreamReset):
            self._heard.reset = True
        elif isinstance(event, RemoteSettingsChanged):
            self._settled = True
        elif isinstance(event, PingAckReceived):
            self._acknowledged = True
        elif isinstance(event, ConnectionTerminated):
            self._gone = True
