"""The cost of following a busy service's ledger, and the time of the dashboard's overview over a busy month."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import httpx

from estelam.core.clock import Clock
from estelam.storage.store import AccessMode, Store
from quality.dashboard.app import create_app
from quality.dashboard.data import DashboardData
from quality.monitor.ledger_collector import collect_ledger
from quality.settings import QualitySettings
from tools.bench.benchmarks.ledger_verify import COMMIT
from tools.bench.benchmarks.monthly_report import MONTH
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric, at_most
from tools.commands.report import day_after, quality_home
from tools.env import synthetic_month

CALLS_A_SECOND = 2_000
SERVICE = synthetic_month.PROMISSORY
PAGES = 50


def measure(environment: BenchEnvironment) -> Iterator[Metric]:
    """Share of a core that following 2,000 calls a second takes, and milliseconds of the overview."""
    yield _following(environment)
    yield from _overview(environment)


def _following(environment: BenchEnvironment) -> Metric:
    """Collect a ledger as the monitor does, whose entries are verified against its checkpoints."""
    suite, entries = environment.with_ledger(environment.scale.entries, commit=COMMIT), environment.scale.entries
    provider = suite.promissory()
    settings = quality_home(environment.folder / "monitor").model_copy(
        update={
            "ledgers": {SERVICE: provider.store},
            "ledger_certificates": {SERVICE: provider.signing_certificates[0]},
        }
    )
    began, cpu = time.perf_counter(), time.process_time()
    collected = collect_ledger(settings, SERVICE, Clock())
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if collected < entries:
        raise RuntimeError(f"{collected:,} entries were collected, of {entries:,}")
    return Metric(
        f"monitor, share of a core at {CALLS_A_SECOND:,} calls/s",
        f"{collected:,} entries collected in {seconds:.1f} s, {1e6 * cpu / collected:.1f} us of CPU each",
        CALLS_A_SECOND * cpu / collected,
        at_most(0.1),
        "{:,.3f}",
    )


def _overview(environment: BenchEnvironment) -> Iterator[Metric]:
    settings = quality_home(environment.folder / "dashboard")
    with contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        seeded = synthetic_month.seed(connection, MONTH, least=environment.scale.inquiries)
    first, later = asyncio.run(_overview_seconds(settings))
    yield Metric(
        f"dashboard's overview of a month of {environment.scale.inquiries:,} inquiries",
        f"{seeded.inquiries:,} inquiries; the first page, which reads them, {1000 * first:,.0f} ms",
        1000 * statistics.median(later),
        at_most(100),
        "{:,.1f} ms",
    )


async def _overview_seconds(settings: QualitySettings) -> tuple[float, list[float]]:
    """Seconds of the first overview, and of each later one."""
    at_end = day_after(MONTH).micros() - 10 * 3_600_000_000  # within the month's last day
    app = create_app(DashboardData(settings, replace(Clock(), micros=lambda: at_end)), ("localhost",))
    taken = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for _ in range(1 + PAGES):
            began = time.perf_counter()
            page = await client.get("/en/")
            taken.append(time.perf_counter() - began)
            page.raise_for_status()
    return taken[0], taken[1:]
