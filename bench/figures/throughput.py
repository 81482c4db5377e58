"""What a recorded, signed answer costs beside a bare handler when a crowd asks."""

from collections.abc import Iterator
from functools import partial

from bench.bare import contest
from bench.figure import Figure, at_least, at_most, compare, paired, remarks
from bench.world import World


def measure(world: World) -> Iterator[Figure]:
    """Throughput and CPU time of the full service / of the bare handler."""
    scale = world.scale
    with contest(world) as both:
        full, bare = paired(
            scale.rounds, partial(both.full, seconds=scale.seconds), partial(both.bare, seconds=scale.seconds)
        )
    ratio, words = compare(full, bare, lambda report: report.throughput, "{:,.0f}")
    yield Figure(
        "full CheckNote / bare handler, SQLite, FULL",
        f"{words} calls/s; {remarks([*full, *bare])}",
        ratio,
        at_least(0.95),
    )
    ratio, words = compare(full, bare, lambda report: report.server_micros, "{:,.0f}")
    yield Figure("CPU time of a full call / of a bare call", f"{words} us of the server process", ratio, at_most(1.15))
