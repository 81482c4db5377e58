"""The watch: each minute it probes every service, reads on in their ledgers and figures, and keeps what was seen.

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
from quality import repository as seen
from quality.monitor import ledger_collector, metrics_scraper, prober
from quality.monitor.metrics_scraper import ScrapeError
from quality.monitor.prober import Visited
from quality.periods import minute_of
from quality.repository import Probe, Reading
from quality.settings import QualitySettings

log = structlog.get_logger()

MOST_UNKEPT = 50_000
"""Of each kind, what may wait for a store that can't be written; beyond that the oldest are lost."""
OWN_MINUTES = 60
"""What a probe asked is in the ledger by then, or never will be."""


@dataclass(slots=True)
class Unkept:
    """What was seen and is not yet in the store."""

    probes: list[Probe] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    own: list[tuple[bytes, int]] = field(default_factory=list)

    def add(self, visited: Visited, minute: int) -> None:
        """Add what an errand met."""
        self.probes += visited.probes
        self.readings.append(visited.reading)
        self.own += ((one, minute) for one in visited.own)

    def then(self, later: "Unkept") -> "Unkept":
        """This and what was seen *later*, as far as there is room."""
        whole = (self.probes + later.probes, self.readings + later.readings, self.own + later.own)
        if dropped := sum(max(len(some) - MOST_UNKEPT, 0) for some in whole):
            log.error("watch.dropped", count=dropped)
        return Unkept(*(some[-MOST_UNKEPT:] for some in whole))  # type: ignore[arg-type]

    def write(self, connection: Connection) -> None:
        """Keep it all."""
        seen.probed(connection, self.probes)
        seen.read_off(connection, merged(self.readings))
        seen.own(connection, self.own)


class Watch:
    """Watches the services in *settings*."""

    def __init__(self, settings: QualitySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._catalogue = catalogues.read_catalogue(settings.catalogue)
        self._unkept = Unkept()
        self._asking_since: int | None = None
        self._asked = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again(self._ask_on_time))
            tasks.create_task(_again_and_again(self._read_once_asked))

    async def ask(self) -> None:
        """One round of probes, all errands at once, each of the minute in which the round began."""
        now = self._clock.now()
        minute, self._asking_since = minute_of(now), self._clock.micros()
        try:
            errands = prober.errands(self._settings, self._latest_catalogue(), now.astimezone(TEHRAN).date())
            runs = [
                prober.run(errand, minute=minute, seconds=self._settings.probe_seconds, clock=self._clock)
                for errand in errands
            ]
            for visited in await asyncio.gather(*runs, return_exceptions=True):
                if isinstance(visited, Visited):
                    self._unkept.add(visited, minute)
                elif isinstance(visited, Exception):
                    log.error("probe.broken", error=type(visited).__name__)
        finally:
            self._asking_since = None

    async def read(self) -> None:
        """Read the figures, keep what was seen, and read on in every ledger."""
        # An inquiry of a probe is known by its id once its round is over: what is younger waits.
        until = self._asking_since or self._clock.micros()
        figures = await asyncio.to_thread(self._figures, minute_of(self._clock.now()))
        self._unkept.readings += figures
        if await self.keep():
            await asyncio.to_thread(self._read_ledgers, until)

    async def keep(self) -> bool:
        """Write what was seen into the store; what could not be written waits."""
        taken, self._unkept = self._unkept, Unkept()
        try:
            await asyncio.to_thread(self._write, taken.write)
        except Exception as error:  # noqa: BLE001 - whatever ails the store, nothing that was seen is lost
            log.error("store.unwritable", error=type(error).__name__)
            self._unkept = taken.then(self._unkept)
            return False
        return True

    async def _ask_on_time(self) -> None:
        await self.ask()
        self._asked.set()
        # By the wall clock, so that a round begins as its minute does; one that was set back is followed at once.
        every = int(self._settings.probe_interval_seconds * 1e6)
        due = (self._clock.micros() // every + 1) * every
        while 0 < (left := due - self._clock.micros()) <= every:  # noqa: ASYNC110 - a clock sets no event
            await asyncio.sleep(left / 1e6)

    async def _read_once_asked(self) -> None:
        await self._asked.wait()
        self._asked.clear()
        await self.read()

    def _latest_catalogue(self) -> Catalogue:
        try:
            self._catalogue = catalogues.read_catalogue(self._settings.catalogue)
        except AccessConfigError as error:
            # What was read last holds: a slip of the pen must not end the watch.
            log.error("catalogue.unreadable", error=type(error).__name__)
        return self._catalogue

    def _figures(self, minute: int) -> list[Reading]:
        readings = []
        for service, url in self._settings.metrics.items():
            try:
                readings.append(metrics_scraper.scrape(url, Reading(minute, service)))
            except ScrapeError as error:
                log.warning("figures.unread", service=service, error=str(error))
        return readings

    def _read_ledgers(self, until: int) -> None:
        unread = 0
        for service in self._settings.ledgers:
            try:
                entries = ledger_collector.read_on(self._settings, service, self._clock, until=until)
                log.debug("ledger.read", service=service, entries=entries)
            except Exception as error:  # noqa: BLE001 - one ledger must not keep the others from being read
                log.error("ledger.unread", service=service, error=type(error).__name__)
                unread += 1
        if not unread:
            end = minute_of(self._clock.now()) - OWN_MINUTES
            self._write(lambda connection: seen.forget_own(connection, end))

    def _write(self, write: Callable[[Connection], None]) -> None:
        with (
            contextlib.closing(Store(self._settings.store, facts=AccessMode.WRITE)) as store,
            store.transaction() as connection,
        ):
            write(connection)


@contextlib.asynccontextmanager
async def watching(settings: QualitySettings, clock: Clock) -> AsyncIterator[Watch]:
    """A running watch, the only one on its store if that is SQLite; what it has seen is kept at the end.

    Raises:
        StoreError, AccessError: what keeps it from starting.
    """
    with contextlib.closing(Store(settings.store)) as store, store.single_writer_lock():
        try:
            check_schema(store, seen.SCRIPTS)
        except StoreError:
            raise StoreError("the quality store is not there or not current; run: estelam quality migrate") from None
        watch = Watch(settings, clock)
        running = asyncio.create_task(watch.run())
        log.info("watch.started", probed_as=len(settings.probe), ledgers=len(settings.ledgers))
        try:
            yield watch
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await watch.keep()
            log.info("watch.stopped")


async def _again_and_again(step: Callable[[], Coroutine[Any, Any, None]]) -> None:
    while True:
        try:
            await step()
        except Exception as error:  # noqa: BLE001 - one bad round must not be the last
            log.error("watch.failed", error=type(error).__name__)
            await asyncio.sleep(1)


def merged(readings: Iterable[Reading]) -> list[Reading]:
    """One reading for each minute and service: who heard SERVING is believed, then who heard anything."""
    whole: dict[tuple[int, str], Reading] = {}
    for one in readings:
        before = whole.setdefault((one.minute, one.service), one)
        health = max(before.health, one.health, key=("", "NOT_SERVING", "SERVING").index)
        figures = before if one.serving is None else one
        whole[one.minute, one.service] = Reading(
            one.minute, one.service, health, figures.serving, figures.answered, figures.refused, figures.unrecorded
        )
    return list(whole.values())
