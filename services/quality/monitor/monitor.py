"""The watch: each minute it probes every service, reads on in their ledgers and figures, and keeps what was repository.

Nothing that fails ends it: what could not be kept is kept the next time, and what could not be read is read then.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import Connection

from estelam.auth.grants import AccessConfigError
from estelam.catalogue import loader as catalogues
from estelam.catalogue.model import Catalogue
from estelam.core.clock import TEHRAN, Clock
from estelam.storage.migrate import check_schema
from estelam.storage.store import AccessMode, Store, StoreError
from quality import repository
from quality.monitor import ledger_collector, metrics_scraper, prober
from quality.monitor.metrics_scraper import ScrapeError
from quality.monitor.prober import ProbeRun
from quality.periods import minute_of
from quality.records import MetricsSample, Probe
from quality.settings import QualitySettings

log = structlog.get_logger()

MAX_BUFFERED = 50_000
"""Of each kind, what may wait for a store that can't be written; beyond that the oldest are lost."""
OWN_INQUIRY_MINUTES = 60
"""What a probe asked is in the ledger by then, or never will be."""


@dataclass(slots=True)
class WriteBuffer:
    """What was seen and is not yet in the store."""

    probes: list[Probe] = field(default_factory=list)
    samples: list[MetricsSample] = field(default_factory=list)
    own_inquiries: list[tuple[bytes, int]] = field(default_factory=list)

    def add(self, visited: ProbeRun, minute: int) -> None:
        """Add what an errand met."""
        self.probes += visited.probes
        self.samples.append(visited.sample)
        self.own_inquiries += ((one, minute) for one in visited.inquiry_ids)

    def followed_by(self, later: "WriteBuffer") -> "WriteBuffer":
        """This and what was seen *later*, as far as there is room."""
        whole = (self.probes + later.probes, self.samples + later.samples, self.own_inquiries + later.own_inquiries)
        if dropped := sum(max(len(some) - MAX_BUFFERED, 0) for some in whole):
            log.error("watch.dropped", count=dropped)
        return WriteBuffer(*(some[-MAX_BUFFERED:] for some in whole))  # type: ignore[arg-type]

    def write(self, connection: Connection) -> None:
        """Keep it all."""
        repository.save_probes(connection, self.probes)
        repository.save_metrics_samples(connection, merge_samples(self.samples))
        repository.save_own_inquiries(connection, self.own_inquiries)


class Monitor:
    """Watches the services in *settings*."""

    def __init__(self, settings: QualitySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._catalogue = catalogues.read_catalogue(settings.catalogue)
        self._buffer = WriteBuffer()
        self._round_began: int | None = None
        self._round_ended = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_repeat(self._probe_on_schedule))
            tasks.create_task(_repeat(self._collect_after_round))

    async def probe(self) -> None:
        """One round of probes, all errands at once, each of the minute in which the round began."""
        now = self._clock.now()
        minute, self._round_began = minute_of(now), self._clock.micros()
        try:
            errands = prober.plan_probes(self._settings, self._latest_catalogue(), now.astimezone(TEHRAN).date())
            runs = [
                prober.run_probes(errand, minute=minute, seconds=self._settings.probe_seconds, clock=self._clock)
                for errand in errands
            ]
            for visited in await asyncio.gather(*runs, return_exceptions=True):
                if isinstance(visited, ProbeRun):
                    self._buffer.add(visited, minute)
                elif isinstance(visited, Exception):
                    log.error("probe.broken", error=type(visited).__name__)
        finally:
            self._round_began = None

    async def collect(self) -> None:
        """Read the figures, keep what was seen, and read on in every ledger."""
        # An inquiry of a probe is known by its id once its round is over: what is younger waits.
        until = self._round_began or self._clock.micros()
        figures = await asyncio.to_thread(self._scrape_metrics, minute_of(self._clock.now()))
        self._buffer.samples += figures
        if await self.flush():
            await asyncio.to_thread(self._collect_ledgers, until)

    async def flush(self) -> bool:
        """Write what was seen into the store; what could not be written waits."""
        taken, self._buffer = self._buffer, WriteBuffer()
        try:
            await asyncio.to_thread(self._write, taken.write)
        except Exception as error:  # noqa: BLE001 - whatever ails the store, nothing that was seen is lost
            log.error("store.unwritable", error=type(error).__name__)
            self._buffer = taken.followed_by(self._buffer)
            return False
        return True

    async def _probe_on_schedule(self) -> None:
        await self.probe()
        self._round_ended.set()
        # By the wall clock, so that a round begins as its minute does; one that was set back is followed at once.
        every = int(self._settings.probe_interval_seconds * 1e6)
        due = (self._clock.micros() // every + 1) * every
        while 0 < (left := due - self._clock.micros()) <= every:  # noqa: ASYNC110 - a clock sets no event
            await asyncio.sleep(left / 1e6)

    async def _collect_after_round(self) -> None:
        await self._round_ended.wait()
        self._round_ended.clear()
        await self.collect()

    def _latest_catalogue(self) -> Catalogue:
        try:
            self._catalogue = catalogues.read_catalogue(self._settings.catalogue)
        except AccessConfigError as error:
            # What was read last holds: a slip of the pen must not end the watch.
            log.error("catalogue.unreadable", error=type(error).__name__)
        return self._catalogue

    def _scrape_metrics(self, minute: int) -> list[MetricsSample]:
        readings = []
        for service, url in self._settings.metrics.items():
            try:
                readings.append(metrics_scraper.scrape(url, MetricsSample(minute, service)))
            except ScrapeError as error:
                log.warning("figures.unread", service=service, error=str(error))
        return readings

    def _collect_ledgers(self, until: int) -> None:
        unread = 0
        for service in self._settings.ledgers:
            try:
                entries = ledger_collector.collect_ledger(self._settings, service, self._clock, until=until)
                log.debug("ledger.read", service=service, entries=entries)
            except Exception as error:  # noqa: BLE001 - one ledger must not keep the others from being read
                log.error("ledger.unread", service=service, error=type(error).__name__)
                unread += 1
        if not unread:
            end = minute_of(self._clock.now()) - OWN_INQUIRY_MINUTES
            self._write(lambda connection: repository.delete_own_inquiries(connection, end))

    def _write(self, write: Callable[[Connection], None]) -> None:
        with (
            contextlib.closing(Store(self._settings.store, facts=AccessMode.WRITE)) as store,
            store.transaction() as connection,
        ):
            write(connection)


@contextlib.asynccontextmanager
async def run_monitor(settings: QualitySettings, clock: Clock) -> AsyncIterator[Monitor]:
    """A running watch, the only one on its store if that is SQLite; what it has seen is kept at the end.

    Raises:
        StoreError, AccessError: what keeps it from starting.
    """
    with contextlib.closing(Store(settings.store)) as store, store.single_writer_lock():
        try:
            check_schema(store, repository.MIGRATIONS)
        except StoreError:
            raise StoreError("the quality store is not there or not current; run: estelam quality migrate") from None
        watch = Monitor(settings, clock)
        running = asyncio.create_task(watch.run())
        log.info("watch.started", probed_as=len(settings.probe), ledgers=len(settings.ledgers))
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await watch.flush()
            log.info("watch.stopped")


async def _repeat(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - one bad round must not be the last
            log.error("watch.failed", error=type(error).__name__)
            await asyncio.sleep(1)


def merge_samples(readings: Iterable[MetricsSample]) -> list[MetricsSample]:
    """One reading for each minute and service: who heard SERVING is believed, then who heard anything."""
    whole: dict[tuple[int, str], MetricsSample] = {}
    for one in readings:
        before = whole.setdefault((one.minute, one.service), one)
        health = max(before.health, one.health, key=("", "NOT_SERVING", "SERVING").index)
        figures = before if one.serving is None else one
        whole[one.minute, one.service] = MetricsSample(
            one.minute, one.service, health, figures.serving, figures.answered, figures.refused, figures.unrecorded
        )
    return list(whole.values())
