"""HTTP/2 over mTLS by hand: what no well-behaved client would send, and everything that comes back."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hpack import Decoder, HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
PADDED, PRIORITISED = 8, 32
_INITIAL_WINDOW_SIZE = 4
_WINDOW = 2**30
_SILENCE_SECONDS = 5.0

Headers = Mapping[str, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """One frame; *length* may lie."""
    size = len(payload) if length is None else length
    return size.to_bytes(3) + bytes((kind & 255, flags & 255)) + stream.to_bytes(4) + payload


def message(body: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A gRPC message: a flag, a length, which may lie, and *body*."""
    return bytes((flag,)) + (len(body) if length is None else length).to_bytes(4) + body


@dataclass(slots=True)
class Reply:
    """What came back on one stream."""

    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    """The code with which the server cut it off."""
    ended: bool = False

    @property
    def status(self) -> int | None:
        """The gRPC status, if one came."""
        text = self.headers.get("grpc-status")
        return int(text) if text is not None and text.isdigit() else None


class ConnectionClosed(Exception):  # noqa: N818 - reads as what it is
    """The server has ended the connection, or said nothing for long."""


class RawConnection:
    """One connection. Its errors of protocol are the server's to find: what is written goes out as it is."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        plain = socket.create_connection(("127.0.0.1", port), timeout=_SILENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(plain, server_hostname="localhost")
        self._decoder = Decoder()
        self._inbox = b""
        self._received = 0
        self.replies: dict[int, Reply] = {}
        self.goaway: int | None = None
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2) + _WINDOW.to_bytes(4)
        self.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, _WINDOW.to_bytes(4)))

    def write(self, data: bytes) -> None:
        """Send *data*.

        Raises:
            Hangup: the server is gone.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionClosed from error

    def read(self, streams: Sequence[int]) -> None:
        """Read until each of *streams* has ended.

        Raises:
            Hangup: the server has ended the connection, or says nothing any more.
        """
        waiting = {stream for stream in streams if not self._ended(stream)}
        while waiting:
            self._take()
            waiting = {stream for stream in waiting if not self._ended(stream)}

    def drain(self, seconds: float) -> None:
        """Read what comes until *seconds* of silence, or the end."""
        self._socket.settimeout(seconds)
        try:
            while True:
                self._take()
        except ConnectionClosed:
            return
        finally:
            self._socket.settimeout(_SILENCE_SECONDS)

    def close(self) -> None:
        """Leave without a word."""
        self._socket.close()

    def _ended(self, stream: int) -> bool:
        return stream in self.replies and self.replies[stream].ended

    def _take(self) -> None:
        try:
            chunk = self._socket.recv(65536)
        except OSError as error:
            raise ConnectionClosed from error
        if not chunk:
            raise ConnectionClosed
        inbox = self._inbox + chunk
        at, end = 0, len(inbox)
        while end - at >= 9 and (after := at + 9 + int.from_bytes(inbox[at : at + 3])) <= end:
            self._frame(inbox[at + 3], inbox[at + 4], int.from_bytes(inbox[at + 5 : at + 9]), inbox[at + 9 : after])
            at = after
        self._inbox = inbox[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8])
        elif kind == SETTINGS and not flags & ACK:
            self.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))
        elif kind in {DATA, HEADERS, RST_STREAM}:
            self._reply(kind, flags, self.replies.setdefault(stream, Reply()), payload)

    def _reply(self, kind: int, flags: int, reply: Reply, payload: bytes) -> None:
        if kind == RST_STREAM:
            reply.reset, reply.ended = int.from_bytes(payload), True
            return
        if kind == DATA:
            reply.body += payload
        else:
            try:
                reply.headers |= {name.decode(): value for name, value in self._decoder.decode(payload, raw=True)}
            except HPACKError as error:
                raise ConnectionClosed from error
        reply.ended = reply.ended or bool(flags & END_STREAM)
