"""Time and memory of the report of a busy month; memory should not depend on traffic."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from estelam.storage.store import AccessMode, Store
from quality.periods import Month
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric, at_most
from tools.bench.report_worker import ReportCost
from tools.commands.report import day_after, quality_home
from tools.env import synthetic_month

MONTH = Month(1405, 8)


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A synthetic month and the cost of its report, in a process of its own."""

    observations: int
    seconds: float
    took: ReportCost

    def __str__(self) -> str:
        took = self.took
        return (
            f"{took.inquiries:,} inquiries in {self.observations:,} observations, "
            f"{self.seconds:.1f} s, {took.cpu_seconds:.1f} of CPU time"
        )


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Seconds of the working group's report of a busy month, and its peak memory / that of a quiet month."""
    scale = environment.scale
    quiet, busy = (
        reported(environment.folder / f"month of {least}", least) for least in (scale.few_inquiries, scale.inquiries)
    )
    yield Metric(
        f"report of a month of {scale.inquiries:,} inquiries",
        f"{busy}; {quiet}",
        busy.seconds,
        at_most(30),
        "{:,.1f} s",
    )
    yield Metric(
        f"its peak memory / that of {scale.few_inquiries:,} inquiries",
        f"{busy.took.peak_mib:.1f} / {quiet.took.peak_mib:.1f} MiB",
        busy.took.peak_mib / quiet.took.peak_mib,
        at_most(1.05),
    )


def reported(folder: Path, least: int) -> ReportRun:
    """Generate a month in *folder* and its report.

    Raises:
        RuntimeError: the report failed or is incomplete.
    """
    settings = quality_home(folder)
    with contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        seeded = synthetic_month.seed(connection, MONTH, least=least)
    started = time.perf_counter()
    arguments = [sys.executable, "-m", "tools.bench.report_worker", str(MONTH), str(day_after(MONTH).micros())]
    done = subprocess.run(arguments, input=settings.model_dump_json(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(done.stderr)
    took = ReportCost(**json.loads(done.stdout))
    if took.inquiries != seeded.inquiries:
        raise RuntimeError(f"{took.inquiries:,} inquiries were reported, of {seeded.inquiries:,}")
    return ReportRun(seeded.observations, seconds, took)
