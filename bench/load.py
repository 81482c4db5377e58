"""A load generator that costs little: gRPC by hand over HTTP/2 and TLS, in a closed loop, every reply checked.

gRPC's own Python client would saturate its core before the server does, and then measure itself.
"""

import os
import select
import socket
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from bench.headers import StatusReader, request_blocks
from bench.processes import cpu_seconds

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 1
_END_HEADERS = 4
_PADDED_OR_PRIORITY = 8 | 32
_INITIAL_WINDOW_SIZE = 4
_WINDOW = 2**30
_DEFAULT_WINDOW = 65535
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask whom, and how hard."""

    host: str
    port: int
    method: str
    """package.Service/Method"""
    certificate: Path
    private_key: Path
    trust: Path
    requests: Sequence[bytes]
    """Serialized requests, asked in turn, over and over."""
    connections: int
    streams: int
    """Calls under way at any time on each connection."""
    seconds: float
    warm_up_seconds: float
    server: int
    """The process whose CPU time is read at both ends of the measured time."""
    core: int


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it. Latencies are in milliseconds, of calls with status 0."""

    calls: int
    seconds: float
    p50: float
    p95: float
    p99: float
    statuses: dict[str, int]
    """Calls by grpc-status; "empty" for a status 0 without a message, "reset" for a stream cut off."""
    beginnings: dict[bytes, int]
    """Calls by the first two bytes of the reply's message: in a contract whose field 1 is the answer, the answer."""
    server_cpu: float
    """CPU seconds of the server in the measured time."""
    client_cpu: float

    @property
    def throughput(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def server_micros(self) -> float:
        """The server's CPU microseconds for each call."""
        return 1e6 * self.server_cpu / max(1, self.calls)

    @property
    def client_share(self) -> float:
        """How much of its core the load generator used; near 1 it would have measured itself."""
        return self.client_cpu / self.seconds

    @property
    def failed(self) -> int:
        """Calls that did not end as they should."""
        return sum(self.statuses.values()) - self.statuses.get("0", 0)


@dataclass(slots=True)
class _Tally:
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    beginnings: Counter[bytes] = field(default_factory=Counter)

    def clear(self) -> None:
        self.latencies.clear()
        self.statuses.clear()
        self.beginnings.clear()


class _Call:
    """A stream under way."""

    __slots__ = ("beginning", "length", "received", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.received = 0
        self.length = 0
        self.beginning = b""

    def take(self, payload: bytes) -> None:
        if not self.received and len(payload) >= 5 and not payload[0]:
            self.length = int.from_bytes(payload[1:5])
            self.beginning = payload[5:7]
        self.received += len(payload)

    @property
    def whole(self) -> bool:
        return self.length > 0 and self.received == self.length + 5


class ProtocolError(Exception):
    """The server did what this small client does not understand."""


class _Connection:
    """One HTTP/2 connection with a fixed number of calls under way."""

    def __init__(self, plan: Plan, tls: ssl.SSLContext, tally: _Tally) -> None:
        self._socket = _connect(plan, tls)
        self._tally = tally
        self._status = StatusReader()
        first, later = request_blocks(plan.method, f"{plan.host}:{plan.port}")
        self._first_block, self._block = (_frame_start(_HEADERS, _END_HEADERS, block) for block in (first, later))
        self._requests = cycle([_frame_start(_DATA, _END_STREAM, _message(request)) for request in plan.requests])
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self._inbox = b""
        self._outbox: list[bytes] = []
        self._credit = _DEFAULT_WINDOW
        self._owed = 0
        self.refill = True
        self._greet()
        for _ in range(plan.streams):
            self._ask(time.perf_counter())
        self._flush()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def busy(self) -> bool:
        return bool(self._calls)

    def close(self) -> None:
        self._socket.close()

    def read(self) -> None:
        """Take what has come, and let each call that has ended be followed by the next."""
        try:
            chunk = self._socket.recv(65536)
        except ssl.SSLWantReadError:
            return
        if not chunk:
            raise ProtocolError("the server hung up")
        now = time.perf_counter()
        inbox = self._inbox + chunk
        position, end = 0, len(inbox)
        while end - position >= 9 and (after := position + 9 + int.from_bytes(inbox[position : position + 3])) <= end:
            stream = int.from_bytes(inbox[position + 5 : position + 9])
            self._frame(inbox[position + 3], inbox[position + 4], stream, inbox[position + 9 : after], now)
            position = after
        self._inbox = inbox[position:]
        self._flush()

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
        if status == "0" and not call.whole:
            status = "empty"
        tally = self._tally
        tally.statuses[status] += 1
        if status == "0":
            tally.latencies.append(now - call.started)
            tally.beginnings[call.beginning] += 1
        if self.refill:
            self._ask(now)

    def _ask(self, now: float) -> None:
        stream = self._next_stream
        self._next_stream += 2
        self._calls[stream] = _Call(now)
        number = stream.to_bytes(4)
        head, block = self._first_block if stream == 1 else self._block
        start, message = next(self._requests)
        self._outbox += (head, number, block, start, number, message)
        self._credit -= len(message)
        if self._credit < 0:
            raise ProtocolError("the server grants too small a window")

    def _greet(self) -> None:
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2) + _WINDOW.to_bytes(4)
        self._outbox += (_PREFACE, _frame(_SETTINGS, 0, 0, settings))
        self._owed = _WINDOW

    def _flush(self) -> None:
        if self._owed >= _WINDOW // 2:
            self._outbox.append(_frame(_WINDOW_UPDATE, 0, 0, self._owed.to_bytes(4)))
            self._owed = 0
        data = b"".join(self._outbox)
        self._outbox.clear()
        while data:
            try:
                data = data[self._socket.send(data) :]
            except ssl.SSLWantWriteError:
                select.select([], [self._socket], [])


def _connect(plan: Plan, tls: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection((plan.host, plan.port), timeout=10)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    secure = tls.wrap_socket(plain, server_hostname=plan.host)
    secure.settimeout(0)
    return secure


def _message(request: bytes) -> bytes:
    return b"\0" + len(request).to_bytes(4) + request


def _frame_start(kind: int, flags: int, payload: bytes) -> tuple[bytes, bytes]:
    """What stands before the stream's number in a frame, and what stands after it."""
    return len(payload).to_bytes(3) + bytes((kind, flags)), payload


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    start, rest = _frame_start(kind, flags, payload)
    return start + stream.to_bytes(4) + rest


def run(plan: Plan) -> Report:
    """Carry out *plan* in this process, which from then on keeps to the plan's core."""
    os.sched_setaffinity(0, {plan.core})
    tls = ssl.create_default_context(cafile=str(plan.trust))
    tls.load_cert_chain(plan.certificate, plan.private_key)
    tls.set_alpn_protocols(["h2"])
    tally = _Tally()
    connections = [_Connection(plan, tls, tally) for _ in range(plan.connections)]
    try:
        _drive(connections, plan.warm_up_seconds)
        tally.clear()
        before = (cpu_seconds(plan.server), time.process_time())
        seconds = _drive(connections, plan.seconds)
        after = (cpu_seconds(plan.server), time.process_time())
        report = _report(tally, seconds, server_cpu=after[0] - before[0], client_cpu=after[1] - before[1])
        _drain(connections)
    finally:
        for connection in connections:
            connection.close()
    return report


def _drive(connections: Sequence[_Connection], seconds: float) -> float:
    """Keep *connections* busy; returns the seconds it took."""
    with select.epoll() as poll:
        readers = {connection.fileno(): connection.read for connection in connections}
        for number in readers:
            poll.register(number, select.EPOLLIN)
        started = time.perf_counter()
        while (left := started + seconds - time.perf_counter()) > 0:
            for number, _ in poll.poll(left):
                readers[number]()
        return time.perf_counter() - started


def _drain(connections: Sequence[_Connection]) -> None:
    """Let the calls under way end, so that the server's next client finds it idle."""
    for connection in connections:
        connection.refill = False
    deadline = time.perf_counter() + _DRAIN_SECONDS
    while any(connection.busy for connection in connections) and time.perf_counter() < deadline:
        _drive(connections, 0.02)


def _report(tally: _Tally, seconds: float, *, server_cpu: float, client_cpu: float) -> Report:
    ordered = sorted(tally.latencies) or [0.0]
    p50, p95, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.50, 0.95, 0.99))
    return Report(
        calls=len(tally.latencies),
        seconds=seconds,
        p50=p50,
        p95=p95,
        p99=p99,
        statuses=dict(tally.statuses),
        beginnings=dict(tally.beginnings),
        server_cpu=server_cpu,
        client_cpu=client_cpu,
    )
