"""The measurements, each by its name on the command line."""

from collections.abc import Callable, Iterator, Mapping

from tools.bench.benchmarks import (
    bulk_check,
    dataset_size,
    fastapi,
    ledger_verify,
    loading,
    memory,
    monthly_report,
    single_client_latency,
    tail_latency,
    throughput,
)
from tools.bench.environment import World
from tools.bench.metric import Figure

Measurement = Callable[[World], Iterator[Figure]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "throughput": throughput.measure,
    "p99": tail_latency.measure,
    "alone": single_client_latency.measure,
    "peers": fastapi.measure,
    "loading": loading.measure,
    "rows": dataset_size.measure,
    "memory": memory.measure,
    "verify": ledger_verify.measure,
    "sweep": bulk_check.measure,
    "month": monthly_report.measure,
}
"""In the order in which they run."""
