"""Two workers on one PostgreSQL store beside one, as far as two cores allow."""

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import promissory.service
from tools.bench.environment import LOAD_CORE, SERVER_CORE, BenchEnvironment, Engine, check_note, load
from tools.bench.load.plan import Report
from tools.bench.metric import Metric, paired, remarks
from tools.bench.processes import RunningServer, run_server


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Answers per second of two workers / of one; load and database share the second worker's core."""
    suite = environment.with_notes(Engine.POSTGRESQL)
    with ExitStack() as running:
        workers = [
            running.enter_context(run_server(promissory.service.main, suite.promissory().model_copy, core=core))
            for core in (SERVER_CORE, LOAD_CORE)
        ]
        ask = (partial(_ask, environment, asked) for asked in (workers, workers[:1]))
        both, alone = paired(environment.scale.rounds, *ask)
    rates = [[sum(report.throughput for report in reports) for reports in runs] for runs in (both, alone)]
    micros = statistics.median(report.server_micros for reports in alone for report in reports)
    flat = [report for runs in (both, alone) for reports in runs for report in reports]
    yield Metric(
        "two workers / one, PostgreSQL",
        f"{statistics.median(rates[0]):,.0f} / {statistics.median(rates[1]):,.0f} calls/s, where a call costs a worker "
        f"{micros:,.0f} us of CPU; {remarks(flat)}",
        statistics.median(two / one for two, one in zip(*rates, strict=True)),
    )


def _ask(environment: BenchEnvironment, workers: list[RunningServer]) -> list[Report]:
    """Load all *workers* at once."""
    caller, scale = environment.with_notes(Engine.POSTGRESQL).caller("setad"), environment.scale
    one = partial(load, questions=check_note(scale), caller=caller, seconds=scale.seconds)
    with ThreadPoolExecutor(len(workers)) as threads:
        return list(threads.map(one, workers))
