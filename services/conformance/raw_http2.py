"""Calls with faults below gRPC, which no gRPC client library would send, over TLS and h2.

h2 frames everything that is valid; invalid framing is written to the socket directly.
"""

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
from hyperframe.frame import DataFrame, SettingsFrame

from conformance.case import WireFault
from conformance.client import MAX_REPLY_BYTES, CallResult, NotSent
from estelam.client.channel import ClientIdentity
from estelam.core.addresses import split

READ_BYTES = 65536
_GIANT_HEADER_BYTES = 65536
_NOT_HTTP = b"this is not HTTP in any version\r\n" * 4
_CODES = {str(code.value[0]): code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class RawCall:
    """A call to make: where, with which certificate, and what to send."""

    address: str
    identity: ClientIdentity
    path: str
    payload: bytes
    metadata: tuple[tuple[str, str], ...]
    timeout: float


class NoReplyError(Exception):
    """The target sent nothing before the deadline."""


def send_faulty(fault: WireFault, call: RawCall) -> CallResult:
    """Make *call* with *fault* and return the result.

    Raises:
        NotSent: the connection could not be made, or this target's settings rule the fault out.
    """
    deadline = time.monotonic() + call.timeout
    try:
        with contextlib.closing(connect(call, deadline, tls=fault is not WireFault.NO_TLS)) as connection:
            result = _send_not_http2(fault, call, connection, deadline) or send(connection, call, deadline, fault)
    except OSError as error:
        raise NotSent(f"no connection: {type(error).__name__}") from None
    except NoReplyError:
        # The status that any gRPC client with this deadline would report.
        result = CallResult("DEADLINE_EXCEEDED")
    return replace(result, ended_at=time.time(), closed=result.status == "CLOSED")


def connect(call: RawCall, deadline: float, *, tls: bool = True) -> socket.socket:
    """Connect to the target.

    Raises:
        OSError: the connection or the TLS handshake fails.
        NoReplyError: the deadline has passed.
    """
    host, port = split(call.address)
    plain = socket.create_connection((host, port), timeout=_remaining(deadline))
    if not tls:
        return plain
    try:
        return call.identity.ssl_context().wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def send(connection: socket.socket, call: RawCall, deadline: float, fault: WireFault | None = None) -> CallResult:
    """Make one call over HTTP/2, valid or with *fault*.

    Raises:
        NoReplyError: the call does not end by *deadline*.
    """
    try:
        return _Connection(connection, call, deadline).call(fault)
    except ProtocolError:
        return CallResult("GARBAGE", "the target's bytes are not HTTP/2")


def _send_not_http2(fault: WireFault, call: RawCall, connection: socket.socket, deadline: float) -> CallResult | None:
    """Send bytes that are not HTTP/2 over TLS, if *fault* is one of that kind, and return the result."""
    if fault is WireFault.GARBAGE_PREFACE:
        data = _NOT_HTTP
    elif fault is WireFault.HTTP1:
        data = f"POST {call.path} HTTP/1.1\r\nHost: {call.address}\r\nContent-Length: 0\r\n\r\n".encode()
    elif fault is WireFault.NO_TLS:
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame().serialize()
    else:
        return None
    first = b""
    with contextlib.suppress(OSError):
        connection.sendall(data)
    try:
        while received := receive(connection, deadline):
            first = first or received
    except NoReplyError:
        return CallResult("OPEN", "the connection stays open")
    return CallResult("HTTP" if first.startswith(b"HTTP/1") else "CLOSED")


def receive(connection: socket.socket, deadline: float) -> bytes:
    """Return the next bytes, or none if the connection is closed.

    Raises:
        NoReplyError: nothing arrives by *deadline*.
    """
    try:
        connection.settimeout(_remaining(deadline))
        return connection.recv(READ_BYTES)
    except TimeoutError:
        raise NoReplyError from None
    except OSError:
        return b""


def _remaining(deadline: float) -> float:
    if (seconds := deadline - time.monotonic()) <= 0:
        raise NoReplyError
    return seconds


def grpc_message(payload: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """Return *payload* with gRPC's prefix: the compressed flag and the length, which may be given wrong."""
    return struct.pack(">BL", compressed, len(payload) if length is None else length) + payload


@dataclass(slots=True)
class _Response:
    """What has arrived on the call's stream so far."""

    headers: dict[str, str] = field(default_factory=dict)
    metadata: list[tuple[str, str | bytes]] = field(default_factory=list)
    data: bytes = b""
    ended: bool = False
    reset: bool = False

    def add(self, headers: list[tuple[bytes, bytes]]) -> None:
        for raw_key, raw in headers:
            key, value = raw_key.decode("latin-1"), raw.decode("latin-1")
            self.headers[key] = value
            if not key.startswith((":", "grpc-status-details-bin")) and not key.endswith("-bin"):
                self.metadata.append((key, value))
            elif key.endswith("-bin"):
                self.metadata.append((key, _unbase64(value)))

    def result(self) -> CallResult:
        """Return the result as a gRPC client would report it."""
        status, http = self.headers.get("grpc-status"), self.headers.get(":status", "")
        if status is not None:
            message = unquote(self.headers.get("grpc-message", ""))
            is_complete = self.data[:5] == grpc_message(self.data[5:])[:5]
            reply = self.data[5:] if status == "0" and is_complete else None
            return CallResult(_CODES.get(status, "UNKNOWN"), message, reply, tuple(self.metadata))
        if self.headers:
            return CallResult("HTTP", f"HTTP status {http} without grpc-status")
        return CallResult("CLOSED", "reset" if self.reset else "")


def _unbase64(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, binascii.Error):
        return b"\xff"


class _Connection:
    """An HTTP/2 connection with one call."""

    def __init__(self, connection: socket.socket, call: RawCall, deadline: float) -> None:
        self._socket = connection
        self._call = call
        self._deadline = deadline
        self._h2 = H2Connection(
            H2Configuration(header_encoding=False, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self._response = _Response()
        self._first_bytes = b""
        self._has_settings = self._has_ping_ack = self._is_closed = False

    def call(self, fault: WireFault | None) -> CallResult:
        """Make the call, with *fault* if any, and return the result."""
        self._h2.initiate_connection()
        self._flush()
        self._receive_until(lambda: self._has_settings)
        if self._is_closed:
            return CallResult("CLOSED")
        self._send(fault)
        if fault is WireFault.RESET_MIDWAY:
            self._receive_until(lambda: self._has_ping_ack)
            if self._has_ping_ack:
                return CallResult("CLOSED")
            return CallResult("GARBAGE", "the connection did not survive the reset of a stream")
        self._receive_until(lambda: self._response.ended or self._response.reset)
        return self._response.result()

    def _send(self, fault: WireFault | None) -> None:
        payload = self._call.payload
        message = grpc_message(payload)
        faulty = {
            WireFault.TRUNCATED_FRAME: message[: 5 + len(payload) // 2],
            WireFault.LENGTH_TOO_SMALL: grpc_message(payload, length=max(0, len(payload) - 1)),
            WireFault.COMPRESSED_FLAG: grpc_message(payload, compressed=1),
            WireFault.NO_MESSAGE: b"",
            WireFault.TWO_MESSAGES: message * 2,
            WireFault.RESET_MIDWAY: message[: 5 + len(payload) // 2],
        }
        data = message if fault is None else faulty.get(fault, message)
        if len(data) > self._h2.outbound_flow_control_window:
            raise NotSent("the request is larger than the target's flow control window")
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, self._headers(fault), end_stream=not data)
        if fault is WireFault.RESET_MIDWAY:
            self._h2.send_data(stream, data)
            self._h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
            self._h2.ping(b"estelam?")
        elif fault is WireFault.OVERSIZED_FRAME:
            self._flush()
            self._send_oversized_frame(stream)
        elif data:
            size = self._h2.max_outbound_frame_size
            for start in range(0, len(data), size):
                self._h2.send_data(stream, data[start : start + size], end_stream=start + size >= len(data))
        self._flush()

    def _send_oversized_frame(self, stream: int) -> None:
        size = self._h2.max_outbound_frame_size + 1
        if size >= 1 << 24:
            raise NotSent("the target accepts frames of HTTP/2's maximum size")
        self._write(DataFrame(stream, bytes(size), flags=["END_STREAM"]).serialize())

    def _headers(self, fault: WireFault | None) -> list[tuple[str, str]]:
        plain: Mapping[str, str] = {
            ":method": "GET" if fault is WireFault.METHOD_GET else "POST",
            ":scheme": "https",
            ":path": self._call.path,
            ":authority": self._call.address,
            "te": "trailers",
            "content-type": "application/json" if fault is WireFault.WRONG_CONTENT_TYPE else "application/grpc",
            "grpc-timeout": f"{int(self._call.timeout * 1000)}m",
        }
        left_out: Mapping[WireFault | None, str] = {WireFault.NO_TE: "te", WireFault.NO_TIMEOUT: "grpc-timeout"}
        headers = [(key, value) for key, value in plain.items() if key != left_out.get(fault)]
        giant = [("x-giant", "g" * _GIANT_HEADER_BYTES)] if fault is WireFault.GIANT_HEADER else []
        return [*headers, *self._call.metadata, *giant]

    def _flush(self) -> None:
        self._write(self._h2.data_to_send())

    def _write(self, data: bytes) -> None:
        try:
            self._socket.settimeout(_remaining(self._deadline))
            self._socket.sendall(data)
        except TimeoutError:
            raise NoReplyError from None
        except OSError:
            pass  # the target may have sent a response before it closed: read on

    def _receive_until(self, is_done: Callable[[], bool]) -> None:
        """Receive until *is_done* or until the connection is closed."""
        while not is_done() and not self._is_closed:
            data = receive(self._socket, self._deadline)
            if not data:
                self._is_closed = True
                return
            self._first_bytes = (self._first_bytes + data)[:4]
            # h2 would wait for the end of a frame that is not SETTINGS.
            if len(self._first_bytes) == 4 and self._first_bytes[3] != SettingsFrame.type:
                raise ProtocolError("the first frame is not SETTINGS")
            for event in self._h2.receive_data(data):
                self._handle(event)
            self._flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, ResponseReceived | TrailersReceived):
            self._response.add(event.headers)  # bytes, because of header_encoding
        elif isinstance(event, DataReceived):
            self._response.data += event.data
            if len(self._response.data) <= MAX_REPLY_BYTES:  # beyond it the flow control window closes
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._response.ended = True
        elif isinstance(event, StreamReset):
            self._response.reset = True
        elif isinstance(event, RemoteSettingsChanged):
            self._has_settings = True
        elif isinstance(event, PingAckReceived):
            self._has_ping_ack = True
        elif isinstance(event, ConnectionTerminated):
            self._is_closed = True
