"""A quality store for each test, and helpers that fill a month."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from estelam.catalogue import loader
from estelam.core.clock import Clock, to_micros
from estelam.storage.store import AccessMode, Store
from estelam.telemetry import histogram
from quality import repository, slo, traffic_store
from quality.attribution import Attribution
from quality.evaluation.audience import Audience
from quality.evaluation.build import AudienceView, build_report
from quality.evaluation.period_data import load_period
from quality.evaluation.report_model import Report
from quality.periods import Month, instant_of, minute_of
from quality.records import Observation, PlannedOutage, Probe, Tally
from quality.settings import QualitySettings
from tools.commands.report import quality_home

ABAN = Month(1405, 8)
SETAD, CBI, AGENCY = "99001187852", "99000712713", "99000316764"
CHECK_NOTE = "estelam.promissory.v1.PromissoryNoteInquiryService/CheckNote"
VERIFY_NOTE = "estelam.setad.v1.NoteVerificationService/VerifyNote"
NATIONAL_ID = "estelam.judiciary.v1.ChequeCaseInquiryService/CheckByNationalId"


def tally(answered: int = 1, micros: int = 20_000, **faults: int) -> Tally:
    """A tally of answered inquiries, and of failures by the name of their attribution."""
    counts: Counter[Attribution | None] = Counter({Attribution(name): count for name, count in faults.items()})
    counts[None] = answered
    return Tally(counts, Counter({histogram.bucket(micros): answered} if answered else {}))


def at(day: int, hour: int = 0, minute: int = 0, month: Month = ABAN) -> int:
    """The minute of a day and hour of *month*."""
    _, first, _ = list(month.day_minutes())[day - 1]
    return first + hour * 60 + minute


@dataclass
class QualityStore:
    """A quality store, with helpers that fill it and build reports."""

    settings: QualitySettings
    after: int = field(default=ABAN.end_minute + 60)

    def clock(self) -> Clock:
        """A stopped clock at minute *after*, by default an hour after the end of the month."""
        micros = to_micros(instant_of(self.after))
        return replace(Clock(), micros=lambda: micros)

    def write(self, keep: Callable[..., object], *rows: object) -> None:
        """Store *rows* with the function *keep* of the repository."""
        with (
            contextlib.closing(Store(self.settings.store, facts=AccessMode.WRITE)) as store,
            store.transaction() as opened,
        ):
            keep(opened, rows)

    def observe(self, minutes: Iterable[int], method: str, consumer: str, what: Tally) -> None:
        """One observation in each of *minutes*."""
        self.write(
            traffic_store.insert_observations, *(Observation(minute, method, consumer, what) for minute in minutes)
        )

    def probe(self, minutes: Iterable[int], method: str, consumer: str, fault: Attribution | None = None) -> None:
        """One probe in each of *minutes*."""
        self.write(repository.save_probes, *(Probe(minute, method, consumer, fault) for minute in minutes))

    def announce(self, first: int, end: int, *, hours: float, service: str = "promissory-note-inquiry") -> None:
        """Announce an outage so many hours before it begins."""
        reported = PlannedOutage(service, first - int(hours * 60), first, end, "نگهداشت", "maintenance")
        self.write(lambda opened, rows: repository.insert_outage(opened, rows[0]), reported)

    def end_early(self, number: int, end: int) -> None:
        """End outage *number* before minute *end*."""
        self.write(lambda opened, _: repository.end_outage(opened, number, end))

    def edit(self, file: str, change: Callable[[dict[str, list[dict[str, object]]]], object]) -> None:
        """Change one file of the catalogue."""
        path = self.settings.catalogue / file
        content = yaml.safe_load(path.read_text("utf-8"))
        change(content)
        path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")

    def report(self, audience: str = "working-group", month: Month = ABAN) -> Report:
        """The report for one audience."""
        catalogue = loader.read_catalogue(self.settings.catalogue)
        rules = slo.read(self.settings.rules, catalogue)
        now = self.clock().now()
        with contextlib.closing(Store(self.settings.store)) as store, store.transaction() as opened:
            whole = load_period(opened, period=month, now=minute_of(now), catalogue=catalogue, rules=rules)
        return build_report(AudienceView(whole, Audience.parse(audience, catalogue), catalogue, rules), now)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> QualitySettings:
    """Settings of an empty quality store with its files: to be copied, not changed."""
    return quality_home(tmp_path_factory.mktemp("quality"))


@pytest.fixture
def quality_store(home: QualitySettings, tmp_path: Path) -> QualityStore:
    """An empty quality store for one test."""
    folder = home.catalogue.parent
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    moved = home.model_dump_json().replace(str(folder), str(tmp_path))
    return QualityStore(QualitySettings.model_validate_json(moved))
