"""How fast a ledger is walked."""

import json
from collections.abc import Iterator

from bench.figure import Figure, at_least
from bench.suite import Suite
from bench.world import SERVER_CORE, World, check_note, load, promissory_server


def measure(world: World) -> Iterator[Figure]:
    """Entries that `ledger verify` walks in a second of CPU time, beyond what the command takes on an empty ledger."""
    suite = world.with_notes()
    while (entries := _verify(suite)[1]) < world.scale.entries:
        _fill(world, suite, world.scale.entries - entries)
    nothing = world.empty("nothing")
    idle = min(_verify(nothing)[0] for _ in range(3))
    whole = min(_verify(suite)[0] for _ in range(3))
    yield Figure(
        "ledger verify, by CPU time",
        f"{entries:,} entries in {whole:.2f} CPU seconds, less {idle:.2f} s that the command takes on an empty ledger",
        entries / (whole - idle),
        at_least(100_000),
        "{:,.0f} entries/s",
    )


def _verify(suite: Suite) -> tuple[float, int]:
    """The CPU seconds that it took, and how many entries there are."""
    done = suite.command("ledger", "verify", "promissory", "--json", core=SERVER_CORE)
    return done.cpu_seconds, json.loads(done.said)["entries"]


def _fill(world: World, suite: Suite, entries: int) -> None:
    """Let the service answer about so many inquiries, or fewer."""
    with promissory_server(suite) as server:
        while entries > 0:
            report = load(server, check_note(world.scale), suite.caller("setad"), seconds=4 * world.scale.seconds)
            entries -= report.calls
