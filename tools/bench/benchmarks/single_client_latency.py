"""Latency for a single client without concurrency."""

import statistics
from collections.abc import Iterator
from functools import partial

from tools.bench.baseline_noop import compare_with_baseline
from tools.bench.environment import ONE, BenchEnvironment
from tools.bench.metric import Metric, at_most, paired, remarks


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """The p50 of the full service minus that of the baseline, one call at a time."""
    scale = environment.scale
    options = {"concurrency": ONE, "seconds": scale.seconds}
    with compare_with_baseline(environment) as both:
        full, bare = paired(scale.rounds, partial(both.full, **options), partial(both.baseline, **options))
    ours, theirs = (statistics.median(report.p50 for report in reports) for reports in (full, bare))
    yield Metric(
        "one caller alone, p50 of full - bare",
        f"{ours:.2f} - {theirs:.2f} ms; {remarks([*full, *bare])}",
        statistics.median(one.p50 - other.p50 for one, other in zip(full, bare, strict=True)),
        at_most(0.6),
        "{:,.2f} ms",
    )
