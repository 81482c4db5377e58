"""Data of the dashboard: read in a thread, cached, and shared by concurrent requests."""

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
from quality import repository, slo
from quality.dashboard import change_feed, report_archive
from quality.dashboard.change_feed import RecordedChange
from quality.dashboard.history import months_shown
from quality.dashboard.report_archive import ArchivedReport
from quality.dashboard.status import ExchangeStatus, load_status
from quality.evaluation.audience import WORKING_GROUP, Audience
from quality.evaluation.build import AudienceView, build_report
from quality.evaluation.period_data import load_period
from quality.evaluation.report_model import Report
from quality.periods import Month, minute_of
from quality.records import PlannedOutage
from quality.report.published import read_published
from quality.settings import QualitySettings
from quality.slo import Rulebook

log = structlog.get_logger()

STATUS_SECONDS, OTHER_SECONDS, PAST_SECONDS = 5.0, 10.0, 300.0
LOAD_FACTOR = 10
"""A value is kept so many times as long as it took to read: reading takes a tenth of a core at most."""

T = TypeVar("T")


class DataUnavailable(Exception):  # noqa: N818 - a state, not a bug: the page is answered with 503
    """The data can't be read now. No older data is shown instead."""


class DashboardData:
    """Reads the stores and files named in *settings*. Every cache raises DataUnavailable if it can't read its data."""

    def __init__(self, settings: QualitySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        self.status = AsyncCache(self._load_status, STATUS_SECONDS)
        """Current status of every service."""
        self.month = AsyncCache(self._load_month, OTHER_SECONDS)
        """Report of the current month for the working group."""
        self.past = AsyncCache(self._load_past, PAST_SECONDS)
        """Reports of the PAST_MONTHS months before it, newest first: the published ones, if there are any."""
        self.catalogue = AsyncCache(self._catalogue, OTHER_SECONDS)
        self.changes = AsyncCache(self._load_changes, OTHER_SECONDS)
        """All recorded changes of the catalogue, newest first."""
        self.outages = AsyncCache(self._load_outages, OTHER_SECONDS)
        """All announced outages, including those that are over or withdrawn."""
        self.reports = AsyncCache(self._load_reports, OTHER_SECONDS)
        """The monthly reports, newest month first."""

    def now(self) -> datetime:
        """The current time."""
        return self._clock.now()

    def file(self, name: str, file: str) -> bytes | None:
        """The content of *file* of the report *name*, or None if there is none."""
        return report_archive.read_file(self._settings.reports, name, file)

    def _load_status(self) -> ExchangeStatus:
        catalogue, rules = self._rules()
        with contextlib.closing(Store(self._settings.store)) as store, store.transaction() as connection:
            return load_status(connection, now=minute_of(self._clock.now()), catalogue=catalogue, rules=rules)

    def _load_month(self) -> Report:
        return self._load_report(Month.of(self._clock.now()))

    def _load_past(self) -> list[Report]:
        _, *past = months_shown(Month.of(self._clock.now()))
        return [
            read_published(self._settings.reports, month, WORKING_GROUP, self._keys) or self._load_report(month)
            for month in past
        ]

    def _load_report(self, month: Month) -> Report:
        catalogue, rules = self._rules()
        now = self._clock.now()
        end = minute_of(now) + 1  # the current minute counts, as in the status
        with contextlib.closing(Store(self._settings.store)) as store, store.transaction() as connection:
            data = load_period(connection, period=month, now=end, catalogue=catalogue, rules=rules)
        return build_report(AudienceView(data, Audience.parse(WORKING_GROUP, catalogue), catalogue, rules), now)

    def _rules(self) -> tuple[Catalogue, Rulebook]:
        catalogue = self._catalogue()
        return catalogue, slo.read(self._settings.rules, catalogue)

    def _catalogue(self) -> Catalogue:
        return loader.read_catalogue(self._settings.catalogue)

    def _load_changes(self) -> list[RecordedChange]:
        return change_feed.list_changes(self._settings)

    def _load_outages(self) -> list[PlannedOutage]:
        with contextlib.closing(Store(self._settings.store)) as store, store.transaction() as connection:
            return repository.all_outages(connection)

    def _load_reports(self) -> list[ArchivedReport]:
        return report_archive.list_reports(self._settings.reports, self._keys)


class AsyncCache(Generic[T]):
    """Caches the result of *read* for *seconds*, or for LOAD_FACTOR times as long as it took, if that is more.

    For half as long again an older value is returned while a new one is being read. Concurrent callers share one read.
    """

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read = read
        self._least_seconds = self._seconds = seconds
        self._value: T | None = None
        self._read_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    async def __call__(self) -> T:
        """The cached value, or a newly read one.

        Raises:
            DataUnavailable: *read* failed.
        """
        age = time.monotonic() - self._read_at
        if self._value is not None and age <= self._seconds:
            return self._value
        refresh = self._refreshing = self._refreshing or asyncio.create_task(self._refresh())
        if self._value is None or age > 1.5 * self._seconds:
            await asyncio.shield(refresh)
            if self._value is None:
                raise DataUnavailable
        return self._value

    async def _refresh(self) -> None:
        began = time.monotonic()
        try:
            self._value = await asyncio.to_thread(self._read)
        except Exception as error:  # noqa: BLE001 - after any failure the old value must not be shown
            log.error("dashboard.unavailable", error=type(error).__name__)
            self._value = None
        finally:
            took = time.monotonic() - began
            self._seconds = max(self._least_seconds, LOAD_FACTOR * took)
            self._read_at, self._refreshing = began, None
