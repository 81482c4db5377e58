"""The speed of ledger verification."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from tools.bench.deployment import Deployment
from tools.bench.environment import SERVER_CORE, BenchEnvironment, check_note, load, promissory_server
from tools.bench.metric import Metric, at_least


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Entries that `ledger verify` verifies per CPU second, less what the command takes on an empty ledger."""
    suite = environment.with_notes(name="ledger")  # from batched answers only, independent of other benchmarks
    while (walk := _verify(suite)).entries < environment.scale.entries:
        _fill(environment, suite, environment.scale.entries - walk.entries)
    nothing = environment.empty("nothing")
    idle = min(_verify(nothing).seconds for _ in range(3))
    whole = min(_verify(suite).seconds for _ in range(3))
    yield Metric(
        "ledger verify, by CPU time",
        f"{walk.entries:,} entries in {walk.commits:,} commits, in {whole:.2f} CPU seconds, "
        f"less {idle:.2f} s that the command takes on an empty ledger",
        walk.entries / (whole - idle),
        at_least(150_000),
        "{:,.0f} entries/s",
    )


class VerifyRun(NamedTuple):
    """The cost of verifying a ledger, and its size."""

    seconds: float
    entries: int
    commits: int


def _verify(suite: Deployment) -> VerifyRun:
    done = suite.command("ledger", "verify", "promissory", "--json", core=SERVER_CORE)
    output = json.loads(done.output)
    return VerifyRun(done.cpu_seconds, output["entries"], output["commits"])


def _fill(environment: BenchEnvironment, suite: Deployment, entries: int) -> None:
    """Let the service answer up to *entries* inquiries."""
    with promissory_server(suite) as server:
        while entries > 0:
            report = load(
                server, check_note(environment.scale), suite.caller("setad"), seconds=4 * environment.scale.seconds
            )
            entries -= report.calls
