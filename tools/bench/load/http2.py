"""gRPC over one HTTP/2 connection, with hand-written framing.

hyperframe costs 17 us of CPU a call instead of 1.5 us (two frames written, three read): a quarter of what one core has
for a call at 17,000 calls a second.
"""

import ssl
from collections.abc import Iterator

from tools.bench.load.connection import Connection, Framed, ProtocolError
from tools.bench.load.headers import StatusReader, request_blocks
from tools.bench.load.plan import Plan, Tally

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_PADDED_OR_PRIORITY = 8 | 32
_INITIAL_WINDOW_SIZE = 4
_WINDOW = 2**30
_DEFAULT_WINDOW = 65535

# The beginning of a reply whose field 1 is the answer, or the obligor.
_ANSWERS = {b"\x08\x01": "YES", b"\x08\x02": "NO"}
_OBLIGOR = b"\x0a"


class _Call:
    """An open stream."""

    __slots__ = ("beginning", "length", "received", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.received = 0
        self.length = 0
        self.beginning = b""

    def take(self, payload: bytes) -> None:
        if not self.received and len(payload) >= 7 and not payload[0]:
            self.length = int.from_bytes(payload[1:5])
            self.beginning = payload[5:7]
        self.received += len(payload)

    @property
    def answer(self) -> str | None:
        """The answer in a complete message."""
        if self.received != self.length + 5:
            return None
        return "DISCLOSED" if self.beginning[:1] == _OBLIGOR else _ANSWERS.get(self.beginning)


class GrpcConnection(Connection):
    """One HTTP/2 connection."""

    def __init__(self, plan: Plan, tls: ssl.SSLContext, tally: Tally, requests: Iterator[Framed]) -> None:
        super().__init__(plan, tls, tally, requests)
        self._status = StatusReader()
        first, later = request_blocks(plan.requests.path, f"{plan.host}:{plan.port}")
        self._first_block, self._block = (_frame_start(_HEADERS, _END_HEADERS, block) for block in (first, later))
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self._inbox = b""
        self._credit = _DEFAULT_WINDOW
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2) + _WINDOW.to_bytes(4)
        self._outbox += (_PREFACE, _frame(_SETTINGS, 0, 0, settings))
        self._owed = _WINDOW

    @staticmethod
    def framed(_plan: Plan, request: bytes) -> Framed:
        """*request* in wire format."""
        return _frame_start(_DATA, _END_STREAM, b"\0" + len(request).to_bytes(4) + request)

    @property
    def in_flight(self) -> int:
        """The number of calls in flight."""
        return len(self._calls)

    def send(self, since: float) -> None:
        """Put the next call into the outbox; its latency counts from *since*."""
        stream = self._next_stream
        self._next_stream += 2
        self._calls[stream] = _Call(since)
        number = stream.to_bytes(4)
        head, block = self._first_block if stream == 1 else self._block
        start, message = next(self._requests)
        self._outbox += (head, number, block, start, number, message)
        self._credit -= len(message)
        if self._credit < 0:
            raise ProtocolError("the server grants too small a window")

    def take(self, chunk: bytes, now: float) -> None:
        """Parse received frames."""
        inbox = self._inbox + chunk
        position, end = 0, len(inbox)
        while end - position >= 9 and (after := position + 9 + int.from_bytes(inbox[position : position + 3])) <= end:
            stream = int.from_bytes(inbox[position + 5 : position + 9])
            self._frame(inbox[position + 3], inbox[position + 4], stream, inbox[position + 9 : after], now)
            position = after
        self._inbox = inbox[position:]
        if self._owed >= _WINDOW // 2:
            self._outbox.append(_frame(_WINDOW_UPDATE, 0, 0, self._owed.to_bytes(4)))
            self._owed = 0

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if kind == _DATA:
            self._owed += len(payload)
            self._calls[stream].take(payload)
        elif kind == _HEADERS:
            if flags & _PADDED_OR_PRIORITY or not flags & _END_HEADERS:
                raise ProtocolError("a header block in a form not understood")
            status = self._status.read(payload)
            if flags & _END_STREAM:
                self._end(stream, status, now)
        elif kind == _RST_STREAM and stream in self._calls:
            self._end(stream, "reset", now)
        elif kind == _WINDOW_UPDATE and stream == 0:
            self._credit += int.from_bytes(payload)
        elif kind == _PING and not flags & _ACK:
            self._outbox.append(_frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._outbox.append(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _GOAWAY:
            raise ProtocolError("the server sent this connection away")

    def _end(self, stream: int, status: str, now: float) -> None:
        call = self._calls.pop(stream)
        if status == "0" and (answer := call.answer):
            self._tally.answered(answer, now - call.since)
        else:
            self._tally.endings[f"status {status}"] += 1
        if self.refill:
            self.send(now)


def _frame_start(kind: int, flags: int, payload: bytes) -> Framed:
    """The bytes of a frame before and after the stream number."""
    return len(payload).to_bytes(3) + bytes((kind, flags)), payload


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    start, rest = _frame_start(kind, flags, payload)
    return start + stream.to_bytes(4) + rest
