"""The speed of ledger verification."""

import json
import os
from collections.abc import Iterator
from typing import NamedTuple

from tools.bench.deployment import Deployment
from tools.bench.environment import SERVER_CORE, BenchEnvironment
from tools.bench.metric import Metric, at_least

COMMIT = 64
"""Entries in each commit, as many as the service makes under load."""
_TARGET = at_least(150_000)


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Entries that `ledger verify` verifies a second on all cores and a CPU second on one, less an empty ledger's."""
    suite = environment.with_ledger(environment.scale.entries, commit=COMMIT)
    nothing = environment.empty("nothing")
    idle, one, every = (
        _verify(nothing, core=SERVER_CORE),
        _verify(suite, core=SERVER_CORE),
        _verify(suite, core=None),
    )
    measured = f"{one.entries:,} entries in {one.commits:,} commits"
    form = "{:,.0f} entries/s"
    yield Metric(
        "ledger verify, all cores, by time",
        f"{measured}, in {every.seconds:.2f} s and {every.cpu_seconds:.2f} CPU seconds on "
        f"{len(os.sched_getaffinity(0))} cores, less {idle.seconds:.2f} s that the command takes on an empty ledger",
        one.entries / (every.seconds - idle.seconds),
        _TARGET,
        form,
    )
    yield Metric(
        "ledger verify, one core, by CPU time",
        f"{measured}, in {one.cpu_seconds:.2f} CPU seconds, less {idle.cpu_seconds:.2f} s on an empty ledger",
        one.entries / (one.cpu_seconds - idle.cpu_seconds),
        _TARGET,
        form,
    )


class _VerifyRun(NamedTuple):
    """The least cost of verifying a ledger, and its size."""

    seconds: float
    cpu_seconds: float
    entries: int
    commits: int


def _verify(suite: Deployment, *, core: int | None) -> _VerifyRun:
    runs = [suite.command("ledger", "verify", "promissory", "--json", core=core) for _ in range(3)]
    output = json.loads(runs[0].output)
    seconds, cpu_seconds = min(run.seconds for run in runs), min(run.cpu_seconds for run in runs)
    return _VerifyRun(seconds, cpu_seconds, output["entries"], output["commits"])
