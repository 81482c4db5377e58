"""The input and output of a load generator."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from estelam.client.channel import ClientIdentity


class Protocol(StrEnum):
    """The protocol of the requests."""

    GRPC = "gRPC over HTTP/2"
    JSON = "JSON over HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Connections, and calls in flight on each."""

    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that are sent repeatedly."""

    protocol: Protocol
    path: str
    requests: Sequence[bytes]
    """Serialized requests, sent in turn."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The target, the requests, and the load."""

    host: str
    port: int
    identity: ClientIdentity
    requests: Requests
    concurrency: Concurrency
    seconds: float
    warm_up_seconds: float
    server: int
    """The id of the process whose CPU time is measured."""
    core: int
    rate: float | None = None
    """Calls per second in an open loop; None for a closed loop."""


@dataclass(slots=True)
class Tally:
    """Results so far. Latencies are those of answered calls, in seconds."""

    latencies: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    """Number of calls by answer or error status."""

    def answered(self, answer: str, seconds: float) -> None:
        """Count a call that ended with *answer* after *seconds*."""
        self.latencies.append(seconds)
        self.endings[answer] += 1

    def clear(self) -> None:
        """Discard the results so far."""
        self.latencies.clear()
        self.endings.clear()


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a plan. Latencies are those of answered calls, in milliseconds."""

    calls: int
    """Number of answered calls."""
    seconds: float
    p50: float
    p99: float
    endings: Mapping[str, int]
    server_cpu: float
    """CPU seconds of the server in the measured time."""
    client_cpu: float

    @classmethod
    def of(cls, tally: Tally, seconds: float, *, server_cpu: float, client_cpu: float) -> Self:
        """The report on *tally*, measured over *seconds*."""
        ordered = sorted(tally.latencies) or [0.0]
        p50, p99 = (1000 * ordered[int(len(ordered) * share)] for share in (0.50, 0.99))
        return cls(len(tally.latencies), seconds, p50, p99, dict(tally.endings), server_cpu, client_cpu)

    @property
    def throughput(self) -> float:
        """Answered calls per second."""
        return self.calls / self.seconds

    @property
    def server_micros(self) -> float:
        """The server's CPU microseconds per answered call."""
        return 1e6 * self.server_cpu / max(1, self.calls)

    @property
    def client_share(self) -> float:
        """Share of its core that the load generator used; near 1 it measured itself."""
        return self.client_cpu / self.seconds

    @property
    def failed(self) -> int:
        """Number of calls that ended without an answer."""
        return sum(self.endings.values()) - self.calls
