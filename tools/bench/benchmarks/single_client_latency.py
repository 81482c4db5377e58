"""What a caller waits who asks alone."""

import statistics
from collections.abc import Iterator
from functools import partial

from tools.bench.baseline_noop import compare_with_baseline
from tools.bench.environment import ONE, BenchEnvironment
from tools.bench.metric import Metric, at_most, paired, remarks


def measure(world: BenchEnvironment) -> Iterator[Metric]:
    """The p50 of the full service beyond that of the bare handler, one call at a time."""
    scale = world.scale
    asked = {"crowd": ONE, "seconds": scale.seconds}
    with compare_with_baseline(world) as both:
        full, bare = paired(scale.rounds, partial(both.full, **asked), partial(both.baseline, **asked))
    ours, theirs = (statistics.median(report.p50 for report in reports) for reports in (full, bare))
    yield Metric(
        "one caller alone, p50 of full - bare",
        f"{ours:.2f} - {theirs:.2f} ms; {remarks([*full, *bare])}",
        statistics.median(one.p50 - other.p50 for one, other in zip(full, bare, strict=True)),
        at_most(2),
        "{:,.2f} ms",
    )
