"""How long the slowest wait when the server is half busy."""

from collections.abc import Iterator
from functools import partial

from tools.bench.baseline_noop import contest
from tools.bench.environment import World
from tools.bench.metric import Figure, at_most, compare, paired, remarks


def measure(world: World) -> Iterator[Figure]:
    """The p99 of the full service / of the bare handler, at half of what the full one can do."""
    scale = world.scale
    with contest(world) as both:
        rate = both.full(seconds=scale.seconds).throughput / 2
        # A p99 needs more calls than a mean does.
        at_half = {"rate": rate, "seconds": 2 * scale.seconds}
        full, bare = paired(scale.rounds, partial(both.full, **at_half), partial(both.bare, **at_half))
    ratio, words = compare(full, bare, lambda report: report.p99, "{:,.2f}")
    yield Figure(
        "p99 of full / bare at half of the full one's capacity",
        f"{words} ms at {rate:,.0f} calls/s, arriving at random; {remarks([*full, *bare])}",
        ratio,
        at_most(1.5),
    )
