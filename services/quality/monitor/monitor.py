"""The monitor: each minute it probes every service, scrapes metrics, collects ledgers and stores the results.

No failure ends it. Results that can't be stored are buffered, and ledgers that can't be read are read in a later round.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection

from estelam.auth.grants import AccessConfigError
from estelam.catalogue import loader as catalogues
from estelam.catalogue.model import Catalogue
from estelam.core.clock import TEHRAN, Clock
from estelam.core.exceptions import problem
from estelam.core.pem import KeyFileError, read_certificates
from estelam.storage.schema import check_schema
from estelam.storage.store import AccessMode, Store
from quality import repository
from quality.monitor import (
    call_collector,
    environment,
    ledger_collector,
    metrics_scraper,
    prober,
    service_probe,
)
from quality.monitor.environment import ClockReading
from quality.monitor.metrics_scraper import ScrapeError
from quality.monitor.monitor_metrics import MonitorMetrics
from quality.monitor.prober import ProbeRun
from quality.monitor.single import only_monitor
from quality.periods import minute_of
from quality.records import MetricsSample, Probe
from quality.settings import QualitySettings

log = structlog.get_logger()

MAX_BUFFERED = 50_000
"""Records of each kind that are buffered while the store can't be written; beyond that the oldest are dropped."""
OWN_INQUIRY_MINUTES = ledger_collector.ANNULLABLE_MINUTES + 24 * 60
"""How long the ids of probes' inquiries are stored; the provider's clock may differ by the last day."""


@dataclass(slots=True)
class WriteBuffer:
    """Results that are not yet in the store."""

    probes: list[Probe] = field(default_factory=list)
    samples: list[MetricsSample] = field(default_factory=list)
    own_inquiries: list[tuple[bytes, int]] = field(default_factory=list)

    def add(self, run: ProbeRun, minute: int) -> None:
        """Add the results of *run*, made in *minute*."""
        self.probes += run.probes
        self.samples.append(run.sample)
        self.own_inquiries += ((one, minute) for one in run.inquiry_ids)

    def followed_by(self, later: "WriteBuffer") -> "WriteBuffer":
        """Return this buffer followed by *later*, without the oldest records beyond the limit."""
        merged = (self.probes + later.probes, self.samples + later.samples, self.own_inquiries + later.own_inquiries)
        if dropped := sum(max(len(some) - MAX_BUFFERED, 0) for some in merged):
            log.error("buffer.truncated", count=dropped)
        return WriteBuffer(*(some[-MAX_BUFFERED:] for some in merged))  # type: ignore[arg-type]

    def write(self, connection: Connection) -> None:
        """Store all records."""
        repository.save_probes(connection, self.probes)
        repository.save_metrics_samples(connection, merge_samples(self.samples))
        repository.save_own_inquiries(connection, self.own_inquiries)


class Monitor:
    """Monitors the services in *settings*."""

    def __init__(
        self,
        settings: QualitySettings,
        clock: Clock,
        metrics: MonitorMetrics | None = None,
        *,
        is_only: Callable[[], bool] = lambda: True,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = metrics or MonitorMetrics()
        self._is_only = is_only
        self._metrics.set_ledgers(settings.ledgers)
        self._catalogue = catalogues.read_catalogue(settings.catalogue)
        self._buffer = WriteBuffer()
        self._round_began: int | None = None
        self._round_ended = asyncio.Event()
        self._last_clock: ClockReading | None = None
        self._clock_differences: dict[str, float] = {}
        """By how many seconds the clock of each service was ahead of this one, when its counts were read last."""

    async def run(self) -> None:
        """Monitor until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self._probe_on_schedule))
            tasks.create_task(_repeat(self._collect_after_round))

    async def probe(self) -> None:
        """Run one round of probes concurrently. All results belong to the minute in which the round began."""
        now = self._clock.now()
        minute, self._round_began = minute_of(now), self._clock.micros()
        try:
            if not await self._is_environment_sound():
                return
            plans = prober.plan_probes(self._settings, self._latest_catalogue(), now.astimezone(TEHRAN).date())
            runs = [
                prober.run_probes(plan, minute=minute, seconds=self._settings.probe_seconds, clock=self._clock)
                for plan in plans
            ]
            others = [
                service_probe.run_service_probe(one, minute=minute, seconds=self._settings.probe_seconds)
                for one in self._settings.service_probe
            ]
            results = await asyncio.gather(*runs, *others, return_exceptions=True)
            for crashed in (one for one in results if isinstance(one, Exception)):
                log.error("probe.crashed", error=type(crashed).__name__)
            probes: list[Probe] = []
            measured = [one for one in results if isinstance(one, ProbeRun)]
            for run in prober.attribute_to_path(measured, self._catalogue):
                self._buffer.add(run, minute)
                probes += run.probes
            listed = [one for one in results if isinstance(one, Probe)]
            self._buffer.probes += listed
            probes += listed
            self._metrics.record_probes(probes)
        finally:
            self._round_began = None

    async def _is_environment_sound(self) -> bool:
        """Test this host, and log what is wrong: whatever is probed then is not measured."""
        before, self._last_clock = self._last_clock, ClockReading.of(self._clock)
        found = await environment.find_problem(
            self._settings, self._clock, before=before, differences=self._clock_differences.values()
        )
        if found:
            log.error("monitor.environment_failed", problem=found)
            return False
        if not await asyncio.to_thread(self._is_only):
            log.error("monitor.displaced")
            return False
        return True

    async def collect(self) -> None:
        """Scrape metrics, flush the buffer, and collect the counts of every service and every ledger."""
        # The ids of probe inquiries are stored only after their round: younger entries wait for the next collection.
        until = self._round_began or self._clock.micros()
        samples = await asyncio.to_thread(self._scrape_metrics, minute_of(self._clock.now()))
        self._buffer.samples += samples
        if await self.flush():
            await asyncio.to_thread(self._collect_calls)
            await asyncio.to_thread(self._collect_ledgers, until)

    async def flush(self) -> bool:
        """Write the buffer to the store and return whether that succeeded; otherwise the records stay buffered."""
        taken, self._buffer = self._buffer, WriteBuffer()
        try:
            await asyncio.to_thread(self._write, taken.write)
        except Exception as error:  # noqa: BLE001 - after any failure of the store the records must be kept
            log.error("store.write_failed", error=type(error).__name__, problem=problem(error))
            self._buffer = taken.followed_by(self._buffer)
            self._metrics.set_serving(healthy=False)
            return False
        self._metrics.set_serving(healthy=True)
        self._metrics.record_round(self._clock.now().timestamp())
        return True

    async def _probe_on_schedule(self) -> None:
        await self.probe()
        self._round_ended.set()
        # Follows the wall clock, so that a round begins with its minute; a clock that was set back starts one at once.
        every = int(self._settings.probe_interval_seconds * 1e6)
        due = (self._clock.micros() // every + 1) * every
        while 0 < (left := due - self._clock.micros()) <= every:  # noqa: ASYNC110 - no event signals the time
            await asyncio.sleep(left / 1e6)

    async def _collect_after_round(self) -> None:
        await self._round_ended.wait()
        self._round_ended.clear()
        await self.collect()

    def _latest_catalogue(self) -> Catalogue:
        try:
            self._catalogue = catalogues.read_catalogue(self._settings.catalogue)
        except AccessConfigError as error:
            # Continue with the catalogue that was read last: an editing error must not stop the monitor.
            log.error("catalogue.read_failed", error=type(error).__name__, problem=problem(error))
        return self._catalogue

    def _scrape_metrics(self, minute: int) -> list[MetricsSample]:
        samples = []
        for service, url in self._settings.metrics.items():
            try:
                samples.append(metrics_scraper.scrape(url, MetricsSample(minute, service)))
            except ScrapeError as error:
                log.warning("metrics.scrape_failed", service=service, error=str(error))
        return samples

    def _collect_calls(self) -> None:
        self._clock_differences = {
            service: (its_micros - self._clock.micros()) / 1e6
            for service, its_micros in call_collector.collect_all(self._settings, self._catalogue).items()
        }

    def _collect_ledgers(self, until: int) -> None:
        failed = 0
        for service in self._settings.ledgers:
            try:
                entries = ledger_collector.collect_ledger(self._settings, service, self._clock, until=until)
                log.debug("ledger.collected", service=service, entries=entries)
                self._metrics.record_collection(service, self._clock.now().timestamp())
            except Exception as error:  # noqa: BLE001 - one ledger must not stop the collection of others
                reason = ledger_collector.failure_reason(error)
                log.error("ledger.collection_failed", service=service, error=type(error).__name__, reason=reason)
                failed += 1
        alarms = {alarm.service for alarm in ledger_collector.standing_alarms(self._settings)}
        self._metrics.set_alarms(self._settings.ledgers, alarms)
        if not failed:
            end = minute_of(self._clock.now()) - OWN_INQUIRY_MINUTES
            self._write(lambda connection: repository.delete_own_inquiries(connection, end))

    def _write(self, write: Callable[[Connection], None]) -> None:
        with (
            contextlib.closing(Store(self._settings.store, facts=AccessMode.WRITE)) as store,
            store.transaction() as connection,
        ):
            write(connection)


@contextlib.asynccontextmanager
async def run_monitor(
    settings: QualitySettings, clock: Clock, metrics: MonitorMetrics | None = None
) -> AsyncIterator[Monitor]:
    """Run the monitor in the background and flush its buffer at the end. A store admits one monitor only.

    Raises:
        StoreError, AccessConfigError: the store or the catalogue can't be used.
        ServerError: the port of the metrics is in use.
    """
    async with contextlib.AsyncExitStack() as endings:
        store = endings.enter_context(contextlib.closing(Store(settings.store)))
        check_schema(store, settings.MIGRATIONS)
        endings.enter_context(store.single_writer_lock())  # whose file is in the folder of the store
        lock = endings.enter_context(only_monitor(settings.store))
        metrics = metrics or MonitorMetrics()
        watch_certificates(settings, metrics)
        monitor = Monitor(settings, clock, metrics, is_only=lock.is_held)
        if settings.metrics_listen:
            setting = settings.origin("metrics_listen")
            await endings.enter_async_context(metrics.listener(settings.metrics_listen, setting=setting))
        running = asyncio.create_task(monitor.run())
        log.info("monitor.started", probe_identities=len(settings.probe), ledgers=len(settings.ledgers))
        try:
            yield monitor
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await monitor.flush()
            log.info("monitor.stopped")


def watch_certificates(settings: QualitySettings, metrics: MonitorMetrics) -> None:
    """Show when the probes' certificates and those that sign reports run out, as they are read at each scrape."""
    probes = [one.certificate for one in settings.probe]
    probes += [one.certificate for one in settings.service_probe if one.certificate]
    if probes:
        metrics.watch_expiry("probe", lambda: _first_end(probes))
    # Past signing certificates stay in the settings for ever: the last one to run out counts.
    metrics.watch_expiry("report", lambda: max(_first_end([path]) for path in settings.signing_certificates))


def _first_end(paths: Iterable[Path]) -> float:
    """When the first certificate in *paths* runs out, in seconds since 1970; 0 if one can't be read."""
    try:
        return min(found.not_valid_after_utc.timestamp() for path in paths for found in read_certificates(path))
    except (OSError, KeyFileError):
        return 0.0


async def _repeat(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - a failed round must not be the last
            log.error("monitor.round_failed", error=type(error).__name__)
            await asyncio.sleep(1)


def merge_samples(samples: Iterable[MetricsSample]) -> list[MetricsSample]:
    """Merge *samples* to one for each minute and service. SERVING wins over NOT_SERVING, any health over none."""
    merged: dict[tuple[int, str], MetricsSample] = {}
    for one in samples:
        before = merged.setdefault((one.minute, one.service), one)
        health = max(before.health, one.health, key=("", "NOT_SERVING", "SERVING").index)
        metrics = before if one.serving is None else one
        merged[one.minute, one.service] = MetricsSample(
            one.minute, one.service, health, metrics.serving, metrics.answered, metrics.refused, metrics.unrecorded
        )
    return list(merged.values())
