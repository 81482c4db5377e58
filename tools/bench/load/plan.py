"""What a load generator is told, and what it tells."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from estelam.client.channel import ClientIdentity


class Protocol(StrEnum):
    """How requests travel."""

    GRPC = "gRPC over HTTP/2"
    JSON = "JSON over HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many ask at once: connections, and calls under way on each."""

    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Requests:
    """What to ask, over and over, and how."""

    protocol: Protocol
    path: str
    requests: Sequence[bytes]
    """Serialized requests, asked in turn."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to ask whom, and how hard."""

    host: str
    port: int
    identity: ClientIdentity
    requests: Requests
    concurrency: Concurrency
    seconds: float
    warm_up_seconds: float
    server: int
    """The process whose CPU time is read at both ends of the measured time."""
    core: int
    rate: float | None = None
    """Calls a second, come what may; None: each call is followed by the next as soon as it has ended."""


@dataclass(slots=True)
class Tally:
    """What has come back so far. Latencies are of calls that were answered, in seconds."""

    latencies: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    """Calls by how they ended: the answer, or the status without one."""

    def answered(self, answer: str, seconds: float) -> None:
        """A call ended with *answer* after *seconds*."""
        self.latencies.append(seconds)
        self.endings[answer] += 1

    def clear(self) -> None:
        """Begin anew."""
        self.latencies.clear()
        self.endings.clear()


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a plan. Latencies are in milliseconds, of calls that were answered."""

    calls: int
    """Calls that were answered."""
    seconds: float
    p50: float
    p99: float
    endings: Mapping[str, int]
    server_cpu: float
    """CPU seconds of the server in the measured time."""
    client_cpu: float

    @classmethod
    def of(cls, tally: Tally, seconds: float, *, server_cpu: float, client_cpu: float) -> Self:
        """The report on *tally*, taken in so many *seconds*."""
        ordered = sorted(tally.latencies) or [0.0]
        p50, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.50, 0.99))
        return cls(len(tally.latencies), seconds, p50, p99, dict(tally.endings), server_cpu, client_cpu)

    @property
    def throughput(self) -> float:
        """Answered calls a second."""
        return self.calls / self.seconds

    @property
    def server_micros(self) -> float:
        """The server's CPU microseconds for each answered call."""
        return 1e6 * self.server_cpu / max(1, self.calls)

    @property
    def client_share(self) -> float:
        """How much of its core the load generator used; near 1 it would have measured itself."""
        return self.client_cpu / self.seconds

    @property
    def failed(self) -> int:
        """Calls that ended without an answer."""
        return sum(self.endings.values()) - self.calls
