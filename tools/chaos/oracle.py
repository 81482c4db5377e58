"""The expected answers: the rules of both services over plain dictionaries, independent of the product's code."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

STALE_AFTER = timedelta(hours=24)
WINDOW = timedelta(hours=24)
FIRST_DATE = date(2021, 3, 21)
TOLERANCE = timedelta(minutes=1)
MAY_HAVE_DRAWN = {"DRAWER", ""}

Row = dict[str, str]


class Coverage(NamedTuple):
    """Data complete since a date and loaded through an instant."""

    since: date | None
    through: datetime


class OracleClock(NamedTuple):
    """A service's view of time: monotonic while it runs, and doubted if its ledger is ahead of it."""

    wall: datetime
    monotonic: float
    last_sealed: datetime | None

    def now(self, wall: datetime, monotonic: float) -> datetime:
        """The service's time if the machine's clock is *wall*."""
        return max(wall, self.wall + timedelta(microseconds=int((monotonic - self.monotonic) * 1e6)))

    def behind(self, now: datetime) -> bool:
        """Whether the clock is behind the ledger."""
        return self.last_sealed is not None and self.last_sealed > now + TOLERANCE


class Answer(NamedTuple):
    """YES, NO, DISCLOSED or the reason of a refusal, and the other expected contents of the reply."""

    outcome: str
    detail: Any = None


class Confirmation(NamedTuple):
    """The four facts of a note that CheckNote answered YES, and the caller who asked."""

    caller: str
    serial: str
    obligor_id: str
    beneficiary_id: str
    amount_rials: str


@dataclass
class Oracle:
    """The coverage rules that both services share."""

    coverage: Coverage | None = None

    def declare(self, since: date | None, through: datetime | None) -> None:
        """Apply a load's claim. A date alone has no effect until the feed's end is known."""
        before = self.coverage
        ends = through or (before.through if before else None)
        if ends is not None and (since or through):
            self.coverage = Coverage(since or (before.since if before else None), ends)

    def refuses(self, since: date | None, through: datetime | None, now: datetime, first_date: date) -> bool:
        """Whether a claim is refused: it would reduce coverage, or lies in the future."""
        if through and through > now + TOLERANCE:
            return True
        if self.coverage is None:
            return False
        later = since is not None and since > (self.coverage.since or first_date)
        return later or (through is not None and through < self.coverage.through)

    def no(self, now: datetime, detail: Any = None) -> Answer:
        """NO if coverage permits it, otherwise the refusal."""
        if self.coverage is None:
            return Answer("COVERAGE_UNDECLARED")
        if self.coverage.through > now + TOLERANCE:
            return Answer("CLOCK_BEHIND")
        if now - self.coverage.through > STALE_AFTER:
            return Answer("DATA_STALE")
        return Answer("NO", detail)


@dataclass
class NotesOracle(Oracle):
    """The Ministry's rules (R2.1, R2.2)."""

    notes: dict[str, Row] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    confirmed_at: dict[Confirmation, list[datetime]] = field(default_factory=dict)
    """The instants of each caller's YES per four facts; not sorted, since a clock may have been wrong."""

    def load(self, kind: str, rows: list[Row]) -> None:
        """Notes replace those of the same serial; the list of members is replaced whole."""
        if kind == "members":
            self.members = {row["agency_id"] for row in rows}
        else:
            self.notes |= {row["serial"]: row for row in rows}

    def answer(self, method: str, caller: str, request: Row, now: datetime) -> Answer:
        """The expected answer to *caller*."""
        note = self.notes.get(request["serial"])
        if method == "CheckNote":
            wanted = ("ISSUED", request["obligor_id"], request["beneficiary_id"], request["amount_rials"])
            written = ("state", "obligor_id", "holder_id", "amount_rials")
            genuine = note is not None and tuple(note[name] for name in written) == wanted
            return Answer("YES") if genuine else self.no(now)
        if request["executive_agency_id"] not in self.members:
            return Answer("AGENCY_NOT_MEMBER")
        if note is None or note["state"] != "ISSUED":
            return Answer("NOTE_NOT_CONFIRMED")
        # A YES about an earlier holder, obligor or amount permits nothing.
        facts = Confirmation(caller, note["serial"], note["obligor_id"], note["holder_id"], note["amount_rials"])
        if not any(now - WINDOW <= when <= now + TOLERANCE for when in self.confirmed_at.get(facts, [])):
            return Answer("NOTE_NOT_CONFIRMED")
        parties = ("id", "name", "address", "postal_code")
        return Answer("DISCLOSED", [[note[f"{side}_{name}"] for name in parties] for side in ("obligor", "holder")])

    def remember(self, method: str, caller: str, request: Row, answer: Answer, now: datetime) -> None:
        """Record an answer; a YES permits GetNoteParties."""
        if (method, answer.outcome) == ("CheckNote", "YES"):
            self.confirmed_at.setdefault(Confirmation(caller, **request), []).append(now)


@dataclass
class CasesOracle(Oracle):
    """The judiciary's rules (R3.1.1, R3.1.2)."""

    cases: dict[str, list[Row]] = field(default_factory=dict)
    """The rows of each case, one per party."""

    def load(self, _kind: str, rows: list[Row]) -> None:
        """A case replaces the case of the same number, including its parties."""
        self.cases |= {number: [row for row in rows if row["case_number"] == number] for number in _numbers(rows)}

    def answer(self, method: str, _caller: str, request: Row, now: datetime) -> Answer:
        """The expected answer to any caller."""
        since = (self.coverage and self.coverage.since) or FIRST_DATE
        covered = [row for rows in self.cases.values() for row in rows if date.fromisoformat(row["filed_on"]) >= since]
        if method == "CheckByNationalId":
            named = {row["national_id"] for row in covered if row["role"] in MAY_HAVE_DRAWN}
            yes = request["national_id"] in named
        else:
            # The certificates of one cheque share its Sayad id; a row outside coverage joins them too.
            asked = request["tracking_id"]
            certified = [row for rows in self.cases.values() for row in rows if row["tracking_id"] == asked]
            cheques = {row["sayad_id"] for row in certified} - {""}
            yes = any(row["tracking_id"] == asked or row["sayad_id"] in cheques for row in covered)
        detail = (since, self.coverage.through) if self.coverage else None
        return Answer("YES", detail) if yes else self.no(now, detail)

    def remember(self, *_: Any) -> None:
        """Nothing to record: answers of the judiciary permit nothing else."""


def _numbers(rows: list[Row]) -> set[str]:
    return {row["case_number"] for row in rows}
