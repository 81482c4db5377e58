"""The benchmarks by their names on the command line."""

from collections.abc import Callable, Iterator, Mapping

from tools.bench.benchmarks import (
    append_lock,
    bulk_check,
    dataset_size,
    fastapi,
    ledger_length,
    ledger_verify,
    loading,
    memory,
    monitoring,
    monthly_report,
    receipts,
    single_client_latency,
    tail_latency,
    throughput,
    workers,
)
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric

Benchmark = Callable[[BenchEnvironment], Iterator[Metric]]

BENCHMARKS: Mapping[str, Benchmark] = {
    "throughput": throughput.measure,
    "workers": workers.measure,
    "p99": tail_latency.measure,
    "alone": single_client_latency.measure,
    "peers": fastapi.measure,
    "loading": loading.measure,
    "rows": dataset_size.measure,
    "memory": memory.measure,
    "ledger": ledger_length.measure,
    "lock": append_lock.measure,
    "verify": ledger_verify.measure,
    "receipts": receipts.measure,
    "bulk-check": bulk_check.measure,
    "month": monthly_report.measure,
    "monitor": monitoring.measure,
}
"""The benchmarks in the order in which they run."""
