"""HTTP/2 below any client library, with or without mTLS: sends any bytes, and reads everything that comes back.

hyperframe writes the valid frames and reads the server's. `frame` writes frames that hyperframe refuses to write.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = (
    kind.type
    for kind in (
        DataFrame,
        HeadersFrame,
        PriorityFrame,
        RstStreamFrame,
        SettingsFrame,
        PingFrame,
        WindowUpdateFrame,
        ContinuationFrame,
    )
)
END_STREAM = 1
END_HEADERS = 4
PADDED, PRIORITISED = 8, 32
_WINDOW = 2**30
_TIMEOUT_SECONDS = 5.0

Headers = Mapping[str, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Return a frame with any type, flags and stream id (reserved bit included) and a *length* that may be wrong."""
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind & 255, flags & 255)) + stream.to_bytes(4) + payload


@dataclass(slots=True)
class Reply:
    """The response on one stream."""

    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    """The error code of the server's RST_STREAM."""
    ended: bool = False

    @property
    def status(self) -> int | None:
        """The gRPC status, if there is one."""
        text = self.headers.get("grpc-status")
        return int(text) if text is not None and text.isdigit() else None


class ConnectionClosed(Exception):  # noqa: N818 - an event, not an error
    """The server closed the connection, or sent nothing for five seconds."""


class RawConnection:
    """One connection, which sends bytes as they are, without checking them."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self._decoder = Decoder()
        self._inbox = b""
        self.replies: dict[int, Reply] = {}
        self.goaway: int | None = None
        settings = SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: _WINDOW})
        self.write(PREFACE + settings.serialize() + WindowUpdateFrame(0, window_increment=_WINDOW).serialize())

    def write(self, data: bytes) -> None:
        """Send *data*.

        Raises:
            ConnectionClosed: the server closed the connection.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionClosed from error

    def read(self, streams: Sequence[int]) -> None:
        """Read until each of *streams* has ended.

        Raises:
            ConnectionClosed: the server closed the connection or sends nothing.
        """
        waiting = {stream for stream in streams if not self._ended(stream)}
        while waiting:
            self._receive()
            waiting = {stream for stream in waiting if not self._ended(stream)}

    def drain(self, seconds: float) -> None:
        """Read until the server sends nothing for *seconds* or closes the connection."""
        self._socket.settimeout(seconds)
        try:
            while True:
                self._receive()
        except ConnectionClosed:
            return
        finally:
            self._socket.settimeout(_TIMEOUT_SECONDS)

    def is_closed(self) -> bool:
        """Read what has arrived, and return whether the server has closed the connection."""
        self._socket.settimeout(0)
        try:
            while True:
                self._receive()
        except ConnectionClosed as closed:
            return not isinstance(closed.__cause__, BlockingIOError | ssl.SSLWantReadError)
        finally:
            self._socket.settimeout(_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Close the socket without GOAWAY."""
        self._socket.close()

    def _ended(self, stream: int) -> bool:
        return stream in self.replies and self.replies[stream].ended

    def _receive(self) -> None:
        try:
            chunk = self._socket.recv(65536)
        except OSError as error:
            raise ConnectionClosed from error
        if not chunk:
            raise ConnectionClosed
        inbox = memoryview(self._inbox + chunk)
        at = 0
        try:
            while len(inbox) - at >= 9:
                received, length = Frame.parse_frame_header(inbox[at : at + 9])
                if len(inbox) - at < 9 + length:
                    break
                received.parse_body(inbox[at + 9 : at + 9 + length])
                self._handle(received)
                at += 9 + length
        except HyperframeError as error:
            raise ConnectionClosed from error
        self._inbox = bytes(inbox[at:])

    def _handle(self, received: Frame) -> None:
        if isinstance(received, GoAwayFrame):
            self.goaway = received.error_code
        elif isinstance(received, SettingsFrame) and "ACK" not in received.flags:
            self.write(SettingsFrame(flags=["ACK"]).serialize())
        elif isinstance(received, PingFrame) and "ACK" not in received.flags:
            self.write(PingFrame(opaque_data=received.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(received, DataFrame | HeadersFrame | RstStreamFrame):
            self._add(self.replies.setdefault(received.stream_id, Reply()), received)

    def _add(self, reply: Reply, received: DataFrame | HeadersFrame | RstStreamFrame) -> None:
        if isinstance(received, RstStreamFrame):
            reply.reset, reply.ended = received.error_code, True
            return
        if isinstance(received, DataFrame):
            reply.body += received.data
        else:
            try:
                headers = self._decoder.decode(received.data, raw=True)
            except HPACKError as error:
                raise ConnectionClosed from error
            reply.headers |= {name.decode(): value for name, value in headers}
        reply.ended = reply.ended or "END_STREAM" in received.flags
