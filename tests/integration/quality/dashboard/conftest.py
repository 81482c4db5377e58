"""The board over a day that was seen: one method down, one consumer's own fault, an outage to come, reports written."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import httpx
import pytest

from estelam.core.clock import Clock, to_micros
from quality import repository
from quality.attribution import Attribution
from quality.dashboard.app import dashboard
from quality.periods import instant_of
from quality.records import Freshness, MetricsSample, ObservedHead, Probe
from quality.report.generate import generate_reports
from tests.integration.quality.conftest import (
    AGENCY,
    CBI,
    CHECK_NOTE,
    NATIONAL_ID,
    SETAD,
    VERIFY_NOTE,
    QualityStore,
    at,
    tally,
)
from tests.support.service import RunningService
from tools.commands.report import quality_home

NOW = at(10, 14, 30)
PARTIES = "estelam.promissory.v1.PromissoryNoteInquiryService/GetNoteParties"
TRACKING_ID = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId"
NOTES, CASES, VERIFICATION = "promissory-note-inquiry", "cheque-case-inquiry", "note-verification"
CONSUMER_METHODS = (
    (CHECK_NOTE, SETAD),
    (CHECK_NOTE, AGENCY),
    (PARTIES, SETAD),
    (NATIONAL_ID, CBI),
    (TRACKING_ID, CBI),
    (VERIFY_NOTE, SETAD),
)
DOWN_MINUTES = 12
BUSY_MINUTES = range(NOW - 1439, NOW - 2, 7)
MINUTES_WITH_TRAFFIC = len(BUSY_MINUTES)


@dataclass(frozen=True, slots=True)
class RunningDashboard:
    """A running board, and what it shows."""

    address: str
    watch: QualityStore

    def client(self) -> httpx.Client:
        """A browser without a script."""
        return httpx.Client(base_url=self.address, trust_env=False, follow_redirects=True)


@contextlib.contextmanager
def open_dashboard(watch: QualityStore, now: int = NOW, **overrides: object) -> Iterator[RunningDashboard]:
    """The board over what *watch* holds, in minute *now*."""
    settings = watch.settings.model_copy(update={"listen": "127.0.0.1:0", **overrides})
    clock = replace(Clock(), micros=lambda: to_micros(instant_of(now)))
    with RunningService(lambda: dashboard(settings, clock)) as running:
        yield RunningDashboard(f"http://localhost:{running.port}", watch)


def probe_all(watch: QualityStore, first: int, end: int) -> None:
    """Probes of every way in each minute: of one method the last ones fail, of one consumer all do by its own fault."""
    failing = {
        (NATIONAL_ID, CBI): (Attribution.PROVIDER, "STORE_UNAVAILABLE", end - DOWN_MINUTES),
        (CHECK_NOTE, AGENCY): (Attribution.CONSUMER, "CERTIFICATE_EXPIRED", first),
    }
    probes = []
    for minute in range(first, end):
        for way in CONSUMER_METHODS:
            fault, reason, since = failing.get(way, (None, "", end))
            met = (fault, reason) if minute >= since else (None, "")
            probes.append(Probe(minute, *way, *met))
    watch.write(repository.save_probes, *probes)


@pytest.fixture(scope="module")
def watch_over(tmp_path_factory: pytest.TempPathFactory) -> QualityStore:
    """A day that was repository."""
    watch = QualityStore(quality_home(tmp_path_factory.mktemp("quality")), after=NOW)
    probe_all(watch, NOW - 1440, NOW + 1)
    watch.observe(BUSY_MINUTES, CHECK_NOTE, SETAD, tally(answered=3, consumer=1))
    watch.announce(NOW + 600, NOW + 720, hours=90)
    watch.write(repository.save_freshness, Freshness(NOW - 1, CASES, 90, date(2021, 3, 21)))
    watch.write(repository.save_heads, ObservedHead(NOW - 1, NOTES, 77, bytes(range(32)), 4321))
    watch.write(
        repository.save_metrics_samples,
        MetricsSample(NOW, NOTES, "SERVING", serving=True),
        MetricsSample(NOW, CASES, "NOT_SERVING"),
    )
    readers = ["working-group", "consumer:cbi"]
    generate_reports(watch.settings, month="1405-08", audiences=readers, clock=watch.clock())
    return watch


@pytest.fixture(scope="module")
def shown(watch_over: QualityStore) -> Iterator[RunningDashboard]:
    """The board over that day."""
    with open_dashboard(watch_over) as running:
        yield running


@pytest.fixture(scope="module")
def reader(shown: RunningDashboard) -> Iterator[httpx.Client]:
    """A browser without a script, on that board."""
    with shown.client() as client:
        yield client
