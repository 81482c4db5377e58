"""What connections of every protocol share: a TLS socket that never blocks, and the loop that they are driven in."""

import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

from tools.bench.load.plan import Plan, Tally

Framed = tuple[bytes, bytes]
"""A request as it goes onto the wire: what comes before the call's number, and what comes after it."""


class ProtocolError(Exception):
    """The server did what this small client does not understand."""


class Connection(ABC):
    """One connection with calls under way. With *refill*, each call that ends is followed by the next."""

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
        """*request* as it goes onto the wire."""

    @abstractmethod
    def send(self, since: float) -> None:
        """Put the next call into the outbox; its latency counts from *since*."""

    @abstractmethod
    def take(self, chunk: bytes, now: float) -> None:
        """Understand what has come."""

    @property
    @abstractmethod
    def in_flight(self) -> int:
        """How many calls have not ended."""

    def fileno(self) -> int:
        """The socket's number."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def read(self) -> None:
        """Take what has come, and let each call that has ended be followed by the next."""
        try:
            chunk = self._socket.recv(65536)
        except ssl.SSLWantReadError:
            return
        if not chunk:
            raise ProtocolError("the server hung up")
        self.take(chunk, time.perf_counter())
        self.flush()

    def flush(self) -> None:
        """Send what lies in the outbox."""
        data = b"".join(self._outbox)
        self._outbox.clear()
        while data:
            try:
                data = data[self._socket.send(data) :]
            except ssl.SSLWantWriteError:
                select.select([], [self._socket], [])
