"""The measurements, each by its name on the command line."""

from collections.abc import Callable, Iterator, Mapping

from bench.figure import Figure
from bench.figures import alone, loading, memory, month, peers, rows, sweep, tail, throughput, verify
from bench.world import World

Measurement = Callable[[World], Iterator[Figure]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "throughput": throughput.measure,
    "p99": tail.measure,
    "alone": alone.measure,
    "peers": peers.measure,
    "loading": loading.measure,
    "rows": rows.measure,
    "memory": memory.measure,
    "verify": verify.measure,
    "sweep": sweep.measure,
    "month": month.measure,
}
"""In the order in which they run."""
