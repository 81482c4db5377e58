"""Base of the connections of every protocol: a non-blocking TLS socket with an outbox."""

import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

from tools.bench.load.plan import Plan, Tally

Framed = tuple[bytes, bytes]
"""A request in wire format: the bytes before and after the stream number."""


class ProtocolError(Exception):
    """The server sent something that this minimal client does not support."""


class Connection(ABC):
    """One connection with calls in flight. In a closed loop, each call that ends is followed by the next."""

    def __init__(self, plan: Plan, tls: ssl.SSLContext, tally: Tally, requests: Iterator[Framed]) -> None:
        self.refill = plan.rate is None
        self._tally = tally
        self._requests = requests
        self._outbox: list[bytes] = []
        plain = socket.create_connection((plan.host, plan.port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = tls.wrap_socket(plain, server_hostname=plan.host)
        self._socket.settimeout(0)

    @staticmethod
    @abstractmethod
    def framed(plan: Plan, request: bytes) -> Framed:
        """*request* in wire format."""

    @abstractmethod
    def send(self, since: float) -> None:
        """Put the next call into the outbox; its latency counts from *since*."""

    @abstractmethod
    def take(self, chunk: bytes, now: float) -> None:
        """Parse received bytes."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """The number of calls in flight."""

    def fileno(self) -> int:
        """The socket's number."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def read(self) -> None:
        """Receive and parse what is available, then send what became due."""
        try:
            chunk = self._socket.recv(65536)
        except ssl.SSLWantReadError:
            return
        if not chunk:
            raise ProtocolError("the server closed the connection")
        self.take(chunk, time.perf_counter())
        self.flush()

    def flush(self) -> None:
        """Send the contents of the outbox."""
        data = b"".join(self._outbox)
        self._outbox.clear()
        while data:
            try:
                data = data[self._socket.send(data) :]
            except ssl.SSLWantWriteError:
                select.select([], [self._socket], [])
