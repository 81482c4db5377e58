"""Throughput and CPU cost of recorded, signed answers, relative to the baseline."""

from collections.abc import Iterator, Sequence
from functools import partial

from tools.bench.baseline_noop import compare_with_baseline
from tools.bench.environment import BenchEnvironment, Engine
from tools.bench.load.plan import Report
from tools.bench.metric import Metric, Target, at_least, at_most, compare, paired, remarks


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Throughput of the full service / of the baseline on both engines, and CPU time on SQLite."""
    full, bare = _runs(environment, Engine.SQLITE)
    yield _throughput(full, bare, Engine.SQLITE, at_least(0.95))
    ratio, text = compare(full, bare, lambda report: report.server_micros, "{:,.0f}")
    yield Metric("CPU time of a full call / of a bare call", f"{text} us of the server process", ratio, at_most(1.15))
    full, bare = _runs(environment, Engine.POSTGRESQL)
    yield _throughput(full, bare, Engine.POSTGRESQL, at_least(0.75))


def _runs(environment: BenchEnvironment, engine: Engine) -> tuple[list[Report], list[Report]]:
    scale = environment.scale
    with compare_with_baseline(environment, engine) as both:
        ask = (partial(one, seconds=scale.seconds) for one in (both.full, both.baseline))
        return paired(scale.rounds, *ask)


def _throughput(full: Sequence[Report], bare: Sequence[Report], engine: Engine, target: Target) -> Metric:
    ratio, text = compare(full, bare, lambda report: report.throughput, "{:,.0f}")
    measured = f"{text} calls/s; {remarks([*full, *bare])}"
    return Metric(f"full CheckNote / bare handler, {engine}", measured, ratio, target)
