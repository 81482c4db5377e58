"""Throughput and CPU cost of recorded, signed answers, relative to the baselines."""

from collections.abc import Iterator, Sequence
from functools import partial

from tools.bench.baseline_noop import Ask, compare_with_baseline
from tools.bench.environment import BenchEnvironment, Engine
from tools.bench.load.plan import Report
from tools.bench.metric import Metric, Target, at_least, at_most, compare, paired, remarks


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Throughput of the full service / of the baselines on both engines, and CPU time on SQLite."""
    with compare_with_baseline(environment, Engine.SQLITE) as servers:
        full, bare = _runs(environment, servers.full, servers.baseline)
        yield _throughput(full, bare, "bare grpc.aio handler, SQLite", at_least(2))
        ratio, text = compare(full, bare, lambda report: report.server_micros, "{:,.0f}")
        yield Metric("CPU time of a full call / of a bare call", f"{text} us of the server process", ratio, at_most(1))
        yield _throughput(
            *_runs(environment, servers.full, servers.polled), "bare completion-queue handler, SQLite", at_least(0.45)
        )
    with compare_with_baseline(environment, Engine.POSTGRESQL) as servers:
        full, bare = _runs(environment, servers.full, servers.baseline)
        yield _throughput(full, bare, "bare grpc.aio handler, PostgreSQL", at_least(1.7))


def _runs(environment: BenchEnvironment, full: Ask, bare: Ask) -> tuple[list[Report], list[Report]]:
    scale = environment.scale
    return paired(scale.rounds, partial(full, seconds=scale.seconds), partial(bare, seconds=scale.seconds))


def _throughput(full: Sequence[Report], bare: Sequence[Report], peer: str, target: Target) -> Metric:
    ratio, text = compare(full, bare, lambda report: report.throughput, "{:,.0f}")
    measured = f"{text} calls/s; {remarks([*full, *bare])}"
    return Metric(f"full CheckNote / {peer}", measured, ratio, target)
