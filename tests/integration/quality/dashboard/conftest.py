"""A dashboard with a day of data: one method down, a consumer fault, an announced outage and reports."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import httpx
import pytest

from estelam.core.clock import Clock, to_micros
from estelam.web.event_loop import run_in_event_loop
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
    """A running dashboard and its quality store."""

    address: str
    quality_store: QualityStore

    def client(self) -> httpx.Client:
        """An HTTP client that follows redirects."""
        return httpx.Client(base_url=self.address, trust_env=False, follow_redirects=True)


@contextlib.contextmanager
def open_dashboard(quality_store: QualityStore, now: int = NOW, **overrides: object) -> Iterator[RunningDashboard]:
    """Run the dashboard with the data of *quality_store*, in minute *now*."""
    settings = quality_store.settings.model_copy(update={"listen": "127.0.0.1:0", **overrides})
    clock = replace(Clock(), micros=lambda: to_micros(instant_of(now)))
    with RunningService(lambda: run_in_event_loop(dashboard(settings, clock))) as running:
        yield RunningDashboard(f"http://localhost:{running.port}", quality_store)


def probe_all(quality_store: QualityStore, first: int, end: int) -> None:
    """Store a probe of each consumer and method in each minute; one method fails at the end, one consumer always."""
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
    quality_store.write(repository.save_probes, *probes)


@pytest.fixture(scope="module")
def observed_day(tmp_path_factory: pytest.TempPathFactory) -> QualityStore:
    """A quality store with one day of data."""
    quality_store = QualityStore(quality_home(tmp_path_factory.mktemp("quality")), after=NOW)
    probe_all(quality_store, NOW - 1440, NOW + 1)
    quality_store.observe(BUSY_MINUTES, CHECK_NOTE, SETAD, tally(answered=3, consumer=1))
    quality_store.announce(NOW + 600, NOW + 720, hours=90)
    quality_store.write(repository.save_freshness, Freshness(NOW - 1, CASES, 90, date(2021, 3, 21)))
    quality_store.write(repository.save_heads, ObservedHead(NOW - 1, NOTES, 4321, bytes(range(32))))
    quality_store.write(
        repository.save_metrics_samples,
        MetricsSample(NOW, NOTES, "SERVING", serving=True),
        MetricsSample(NOW, CASES, "NOT_SERVING"),
    )
    readers = ["working-group", "consumer:cbi"]
    generate_reports(quality_store.settings, month="1405-08", audiences=readers, clock=quality_store.clock())
    return quality_store


@pytest.fixture(scope="module")
def running_dashboard(observed_day: QualityStore) -> Iterator[RunningDashboard]:
    """A running dashboard with that day."""
    with open_dashboard(observed_day) as running:
        yield running


@pytest.fixture(scope="module")
def client(running_dashboard: RunningDashboard) -> Iterator[httpx.Client]:
    """An HTTP client of that dashboard."""
    with running_dashboard.client() as client:
        yield client
