"""How fast a ledger is walked."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from tools.bench.deployment import Deployment
from tools.bench.environment import SERVER_CORE, BenchEnvironment, check_note, load, promissory_server
from tools.bench.metric import Metric, at_least


def measure(world: BenchEnvironment) -> Iterator[Metric]:
    """Entries that `ledger verify` walks in a second of CPU time, beyond what the command takes on an empty ledger."""
    suite = world.with_notes(name="ledger")  # of a crowd's answers alone, whatever else is measured
    while (walk := _verify(suite)).entries < world.scale.entries:
        _fill(world, suite, world.scale.entries - walk.entries)
    nothing = world.empty("nothing")
    idle = min(_verify(nothing).seconds for _ in range(3))
    whole = min(_verify(suite).seconds for _ in range(3))
    yield Metric(
        "ledger verify, by CPU time",
        f"{walk.entries:,} entries in {walk.blocks:,} blocks, in {whole:.2f} CPU seconds, "
        f"less {idle:.2f} s that the command takes on an empty ledger",
        walk.entries / (whole - idle),
        at_least(100_000),
        "{:,.0f} entries/s",
    )


class VerifyRun(NamedTuple):
    """What it took to walk a ledger of what size."""

    seconds: float
    entries: int
    blocks: int


def _verify(suite: Deployment) -> VerifyRun:
    done = suite.command("ledger", "verify", "promissory", "--json", core=SERVER_CORE)
    said = json.loads(done.output)
    return VerifyRun(done.cpu_seconds, said["entries"], said["blocks"])


def _fill(world: BenchEnvironment, suite: Deployment, entries: int) -> None:
    """Let the service answer about so many inquiries, or fewer."""
    with promissory_server(suite) as server:
        while entries > 0:
            report = load(server, check_note(world.scale), suite.caller("setad"), seconds=4 * world.scale.seconds)
            entries -= report.calls
