"""What the board sees: read in a thread, once for all who ask at the same time, and anew when it is no longer fresh."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Generic, TypeVar

import structlog

from estelam.catalogue import loader
from estelam.catalogue.model import Catalogue
from estelam.core.clock import Clock
from estelam.core.keys import verifying_keys
from estelam.storage.store import Store
from quality import slo
from quality.dashboard import change_feed, report_archive
from quality.dashboard.change_feed import Noted
from quality.dashboard.report_archive import Shelved
from quality.dashboard.status import Present, look
from quality.evaluation.audience import WORKING_GROUP, Audience
from quality.evaluation.build import Cut, gather
from quality.evaluation.period_data import see
from quality.evaluation.report_model import Figures
from quality.periods import Month, minute_of
from quality.settings import QualitySettings
from quality.slo import Rulebook

log = structlog.get_logger()

PRESENT_SECONDS, MONTH_SECONDS, OTHER_SECONDS = 5.0, 300.0, 10.0

T = TypeVar("T")


class Blind(Exception):  # noqa: N818 - reads as what it is
    """What was asked about can't be read now: nothing is shown in its place."""


class Sight:
    """Sees what *settings* name; a method raises Blind where that can't be read."""

    def __init__(self, settings: QualitySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = verifying_keys(settings.signing_certificates)
        self.present = Fresh(self._present, PRESENT_SECONDS)
        """How everything stands now."""
        self.month = Fresh(self._month, MONTH_SECONDS, lingers=MONTH_SECONDS)  # of a busy month it takes seconds
        """The figures of the month that runs, as the working group sees them."""
        self.catalogue = Fresh(self._catalogue, OTHER_SECONDS)
        self.changes = Fresh(self._changes, OTHER_SECONDS)
        """All changes of the catalogue that are noted, the newest first."""
        self.reports = Fresh(self._reports, OTHER_SECONDS)
        """The monthly reports, the newest first."""

    def now(self) -> datetime:
        """The time."""
        return self._clock.now()

    def file(self, name: str, file: str) -> bytes | None:
        """One *file* of the report *name*; None where there is none."""
        return report_archive.file(self._settings.reports, name, file)

    def _present(self) -> Present:
        catalogue, rules = self._rules()
        with contextlib.closing(Store(self._settings.store)) as store, store.transaction() as connection:
            return look(connection, now=minute_of(self._clock.now()), catalogue=catalogue, rules=rules)

    def _month(self) -> Figures:
        catalogue, rules = self._rules()
        now = self._clock.now()
        with contextlib.closing(Store(self._settings.store)) as store, store.transaction() as connection:
            seen = see(connection, period=Month.of(now), now=minute_of(now), catalogue=catalogue, rules=rules)
        return gather(Cut(seen, Audience.parse(WORKING_GROUP, catalogue), catalogue, rules), now)

    def _rules(self) -> tuple[Catalogue, Rulebook]:
        catalogue = self._catalogue()
        return catalogue, slo.read(self._settings.rules, catalogue)

    def _catalogue(self) -> Catalogue:
        return loader.read_catalogue(self._settings.catalogue)

    def _changes(self) -> list[Noted]:
        return change_feed.changes(self._settings.ledgers)

    def _reports(self) -> list[Shelved]:
        return report_archive.reports(self._settings.reports, self._keys)


class Fresh(Generic[T]):
    """What *read* gives, kept for some *seconds*, and for so many more while it is being read anew."""

    def __init__(self, read: Callable[[], T], seconds: float, *, lingers: float = 0.0) -> None:
        self._read = read
        self._seconds = seconds
        self._lingers = lingers
        self._kept: T | None = None
        self._at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self) -> T:
        """What was read.

        Raises:
            Blind: it can't be.
        """
        age = time.monotonic() - self._at
        if self._kept is not None and age <= self._seconds:
            return self._kept
        loader = self._reading = self._reading or asyncio.create_task(self._renew())
        if self._kept is None or age > self._seconds + self._lingers:
            await asyncio.shield(loader)
            if self._kept is None:
                raise Blind
        return self._kept

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            self._kept = await asyncio.to_thread(self._read)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing old is shown in place of what can't be read
            log.error("board.blind", error=type(error).__name__)
            self._kept = None
        finally:
            self._at, self._reading = began, None
