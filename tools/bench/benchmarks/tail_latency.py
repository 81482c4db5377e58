"""Tail latency at half of the baseline's capacity."""

from collections.abc import Iterator
from functools import partial

from tools.bench.baseline_noop import compare_with_baseline
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric, at_most, compare, paired, remarks


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """The p99 of the full service / of the baseline, at half of the baseline's capacity."""
    scale = environment.scale
    with compare_with_baseline(environment) as both:
        rate = both.baseline(seconds=scale.seconds).throughput / 2
        # A p99 needs more calls than a mean does.
        at_half = {"rate": rate, "seconds": 2 * scale.seconds}
        full, bare = paired(scale.rounds, partial(both.full, **at_half), partial(both.baseline, **at_half))
    ratio, text = compare(full, bare, lambda report: report.p99, "{:,.2f}")
    yield Metric(
        "p99 of full / bare, both at half of the bare one's capacity",
        f"{text} ms at {rate:,.0f} calls/s, arriving at random; {remarks([*full, *bare])}",
        ratio,
        at_most(1.5),
    )
