"""A file of announced outages, and a clock that tests move before, into and after them."""

import time
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from estelam.core.clock import Clock
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.tables import entry_table
from estelam.pipeline.outages import Outage, OutageTable
from estelam.storage.store import Store

PROMISSORY = "estelam.promissory.v1.PromissoryNoteInquiryService"
JUDICIARY = "estelam.judiciary.v1.ChequeCaseInquiryService"
VERIFICATION = "estelam.setad.v1.NoteVerificationService"
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)


@dataclass
class Time:
    """The machine's time plus the time that a test has let pass."""

    passed: timedelta = timedelta()
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def clock(self) -> Clock:
        return Clock(
            lambda: time.time_ns() // 1000 + self.passed // timedelta(microseconds=1),
            lambda: time.monotonic() + self.passed.total_seconds(),
        )

    def go_to(self, instant: datetime) -> None:
        """Move the clock to *instant* plus two seconds, so that files are checked again."""
        self.passed += max(instant - self.clock.now(), timedelta()) + 2 * SECOND


def outage(service: str, since: datetime, until: datetime) -> Outage:
    words = {"reason_fa": "جابه‌جایی پایگاه داده", "reason_en": 'Move of the "database" \\ to a new host'}
    return Outage(service=service, since=since, until=until, **words)


def publish(path: Path, *outages: Outage) -> None:
    """Replace the file with *outages*."""
    OutageTable(outage=list(outages)).save(path)


def ledger_reasons(store: str) -> list[str]:
    """The refusal reason of each inquiry in the ledger of *store*; empty for answers."""
    with closing(Store(store)) as opened, opened.transaction() as connection:
        leaves = connection.execute(select(entry_table.c.leaf).order_by(entry_table.c["index"])).scalars()
        entries = map(pb.Entry.FromString, leaves)
        return [entry.refusal for entry in entries if entry.outcome != pb.OUTCOME_NOTED]
