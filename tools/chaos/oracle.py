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
    """Data complete since a date, as of an instant; cases are linked to certificates since another date."""

    since: date
    as_of: datetime
    tracking_since: date | None


class File(NamedTuple):
    """A file of a feed, and what is declared of it."""

    feed: str
    rows: list[Row]
    cut_at: datetime
    whole: bool
    replaces_parties: bool = False
    since: date | None = None
    tracking_since: date | None = None


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
    """The rules of feeds and coverage that both services share."""

    required: str = ""
    """The feed whose loads are the coverage."""
    first_date: date = date.min
    """The date from which a whole file is complete if it declares none."""
    files: list[File] = field(default_factory=list)
    complete_since: dict[str, date] = field(default_factory=dict)
    tracking_since: dict[str, date] = field(default_factory=dict)
    coverage: Coverage | None = None

    def repeats(self, file: File) -> bool:
        """Whether this very file was loaded before, so that nothing happens."""
        return file in self.files

    def refuses(self, file: File, now: datetime) -> bool:
        """Whether a file is refused: it is known, older than the last one, from the future, or reduces coverage."""
        last = next((old.cut_at for old in reversed(self.files) if old.feed == file.feed), file.cut_at)
        # A whole file corrects a cut-off that a wrong clock has let into the future.
        corrects = file.whole and last > now + TOLERANCE
        late = file.cut_at > now + TOLERANCE or (file.cut_at < last and not corrects)
        known = any(old.rows == file.rows for old in self.files)
        declared = ((file.since, self.complete_since), (file.tracking_since, self.tracking_since))
        reduces = any(since and file.feed in before and since > before[file.feed] for since, before in declared)
        return late or known or (reduces and not file.whole)

    def load(self, file: File) -> None:
        """Apply a file."""
        self.files.append(file)
        since = file.since or self.complete_since.get(file.feed) or (self.first_date if file.whole else None)
        if since:
            self.complete_since[file.feed] = since
        if file.tracking_since:
            self.tracking_since[file.feed] = file.tracking_since
        if file.feed == self.required:
            self.coverage = Coverage(since, file.cut_at, self.tracking_since.get(file.feed)) if since else None

    def no(self, now: datetime, detail: Any = None) -> Answer:
        """NO if coverage permits it, otherwise the refusal."""
        if self.coverage is None:
            return Answer("COVERAGE_UNDECLARED")
        if self.coverage.as_of > now + TOLERANCE:
            return Answer("CLOCK_BEHIND")
        if now - self.coverage.as_of > STALE_AFTER:
            return Answer("DATA_STALE")
        return Answer("NO", detail)


@dataclass
class NotesOracle(Oracle):
    """The Ministry's rules (R2.1, R2.2)."""

    notes: dict[str, Row] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    confirmed_at: dict[Confirmation, list[datetime]] = field(default_factory=dict)
    """The instants of each caller's YES per four facts; not sorted, since a clock may have been wrong."""

    required: str = "notes"

    def load(self, file: File) -> None:
        """Notes replace those of the same serial; the list of members is replaced whole."""
        super().load(file)
        if file.feed == "members":
            self.members = {row["agency_id"] for row in file.rows}
        else:
            self.notes = ({} if file.whole else self.notes) | {row["serial"]: row for row in file.rows}

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

    required: str = "cases"
    first_date: date = FIRST_DATE

    def load(self, file: File) -> None:
        """A case replaces the case of the same number; its parties are added to the earlier ones, or replace them."""
        super().load(file)
        before = {} if file.whole else self.cases
        self.cases = dict(before)
        for number in {row["case_number"] for row in file.rows}:
            rows = [row for row in file.rows if row["case_number"] == number]
            self.cases[number] = rows + ([] if file.replaces_parties else _others(before.get(number, []), rows))

    def answer(self, method: str, _caller: str, request: Row, now: datetime) -> Answer:
        """The expected answer to any caller."""
        since = (self.coverage and self.coverage.since) or FIRST_DATE
        covered = [row for rows in self.cases.values() for row in rows if date.fromisoformat(row["filed_on"]) >= since]
        complete_since = self.coverage and self.coverage.since
        if method == "CheckByNationalId":
            named = {row["national_id"] for row in covered if row["role"] in MAY_HAVE_DRAWN}
            yes = request["national_id"] in named
        else:
            # The certificates of one cheque share its Sayad id; a row outside coverage joins them too.
            asked = request["tracking_id"]
            certified = [row for rows in self.cases.values() for row in rows if row["tracking_id"] == asked]
            cheques = {row["sayad_id"] for row in certified} - {""}
            yes = any(row["tracking_id"] == asked or row["sayad_id"] in cheques for row in covered)
            tracking_since = self.coverage and self.coverage.tracking_since
            complete_since = max(since, tracking_since) if tracking_since else None
        detail = (complete_since, self.coverage.as_of) if self.coverage else None
        if not yes and self.coverage and not complete_since:
            return Answer("TRACKING_UNDECLARED")
        return Answer("YES", detail) if yes else self.no(now, detail)

    def remember(self, *_: Any) -> None:
        """Nothing to record: answers of the judiciary permit nothing else."""


def _others(earlier: list[Row], rows: list[Row]) -> list[Row]:
    """The parties of a case that *rows* lack, with the case's facts from *rows*."""
    named = {(row["national_id"], row["role"]) for row in rows}
    parties = [(row["national_id"], row["role"]) for row in earlier]
    return [{**rows[0], "national_id": person, "role": role} for person, role in parties if (person, role) not in named]
