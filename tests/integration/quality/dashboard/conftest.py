"""The board over a day that was seen: one method down, one consumer's own fault, an outage to come, reports written."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import httpx
import pytest

from estelam.core.clock import Clock, to_micros
from quality import repository as seen
from quality.attribution import Fault
from quality.dashboard.app import board
from quality.periods import instant_of
from quality.report.generate import report
from quality.repository import Freshness, Probe, Reading, SeenHead
from tests.integration.quality.conftest import (
    AGENCY,
    CBI,
    CHECK_NOTE,
    NATIONAL_ID,
    SETAD,
    VERIFY_NOTE,
    Watch,
    at,
    tally,
)
from tests.support.service import RunningService
from tools.commands.report import quality_home

NOW = at(10, 14, 30)
PARTIES = "estelam.promissory.v1.PromissoryNoteInquiryService/GetNoteParties"
TRACKING_ID = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByTrackingId"
NOTES, CASES, VERIFICATION = "promissory-note-inquiry", "cheque-case-inquiry", "note-verification"
WAYS = (
    (CHECK_NOTE, SETAD),
    (CHECK_NOTE, AGENCY),
    (PARTIES, SETAD),
    (NATIONAL_ID, CBI),
    (TRACKING_ID, CBI),
    (VERIFY_NOTE, SETAD),
)
DOWN_MINUTES = 12
BUSY = range(NOW - 1439, NOW - 2, 7)
MINUTES_WITH_TRAFFIC = len(BUSY)


@dataclass(frozen=True, slots=True)
class Board:
    """A running board, and what it shows."""

    address: str
    watch: Watch

    def client(self) -> httpx.Client:
        """A browser without a script."""
        return httpx.Client(base_url=self.address, trust_env=False, follow_redirects=True)


@contextlib.contextmanager
def opened(watch: Watch, now: int = NOW, **overrides: object) -> Iterator[Board]:
    """The board over what *watch* holds, in minute *now*."""
    settings = watch.settings.model_copy(update={"listen": "127.0.0.1:0", **overrides})
    clock = replace(Clock(), micros=lambda: to_micros(instant_of(now)))
    with RunningService(lambda: board(settings, clock)) as running:
        yield Board(f"http://localhost:{running.port}", watch)


def measure(watch: Watch, first: int, end: int) -> None:
    """Probes of every way in each minute: of one method the last ones fail, of one consumer all do by its own fault."""
    failing = {
        (NATIONAL_ID, CBI): (Fault.PROVIDER, "STORE_UNAVAILABLE", end - DOWN_MINUTES),
        (CHECK_NOTE, AGENCY): (Fault.CONSUMER, "CERTIFICATE_EXPIRED", first),
    }
    probes = []
    for minute in range(first, end):
        for way in WAYS:
            fault, reason, since = failing.get(way, (None, "", end))
            met = (fault, reason) if minute >= since else (None, "")
            probes.append(Probe(minute, *way, *met))
    watch.write(seen.probed, *probes)


@pytest.fixture(scope="module")
def watch_over(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """A day that was seen."""
    watch = Watch(quality_home(tmp_path_factory.mktemp("quality")), after=NOW)
    measure(watch, NOW - 1440, NOW + 1)
    watch.observe(BUSY, CHECK_NOTE, SETAD, tally(answered=3, consumer=1))
    watch.announce(NOW + 600, NOW + 720, hours=90)
    watch.write(seen.aged, Freshness(NOW - 1, CASES, 90, date(2021, 3, 21)))
    watch.write(seen.headed, SeenHead(NOW - 1, NOTES, 77, bytes(range(32)), 4321))
    watch.write(seen.read_off, Reading(NOW, NOTES, "SERVING", serving=True), Reading(NOW, CASES, "NOT_SERVING"))
    readers = ["working-group", "consumer:cbi"]
    report(watch.settings, month="1405-08", audiences=readers, clock=watch.clock())
    return watch


@pytest.fixture(scope="module")
def shown(watch_over: Watch) -> Iterator[Board]:
    """The board over that day."""
    with opened(watch_over) as running:
        yield running


@pytest.fixture(scope="module")
def reader(shown: Board) -> Iterator[httpx.Client]:
    """A browser without a script, on that board."""
    with shown.client() as client:
        yield client
