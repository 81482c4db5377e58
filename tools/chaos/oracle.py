"""The expected answers: the rules of both services over plain dictionaries, independent of the product's code."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

STALE_AFTER = timedelta(hours=24)
WINDOW = timedelta(hours=24)
FIRST_DATE = date(2021, 3, 21)
TOLERANCE = timedelta(minutes=1)
MAY_HAVE_DRAWN = {"DRAWER", ""}

NOTE_FEEDS, CASE_FEEDS, MEMBERS = ("ministry", "banks"), ("court-a", "court-b"), "members"

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
    taken_feed: str | None = None
    """The feed whose records in the file become records of the file's feed."""
    numbered: bool = False
    """Whether its source has given it the next number of the feed."""

    @property
    def replaces(self) -> bool:
        """Whether it names all parties of its cases."""
        return self.whole or self.replaces_parties

    @property
    def content(self) -> list[list[tuple[str, str]]]:
        """The rows in whatever order."""
        return sorted(sorted(row.items()) for row in self.rows)


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


class Removal(NamedTuple):
    """A record that a whole file no longer had."""

    record: str
    feed: str
    cut_at: datetime


@dataclass
class Oracle:
    """The rules of feeds and coverage that both services share."""

    required: tuple[str, ...] = ()
    """The feeds whose loads are the coverage."""
    record: str = ""
    """The column that identifies a record."""
    first_date: date = date.min
    """The date from which a whole file is complete if it declares none."""
    is_dated: bool = False
    """Whether a whole file that takes records over must declare its dates."""
    files: list[File] = field(default_factory=list)
    complete_since: dict[str, date] = field(default_factory=dict)
    tracking_since: dict[str, date] = field(default_factory=dict)
    coverage: Coverage | None = None
    feed_of: dict[str, str] = field(default_factory=dict)
    """The feed of each record."""
    removals: list[Removal] = field(default_factory=list)

    def repeats(self, file: File) -> bool:
        """Whether this very file was loaded before, so that nothing happens."""
        return not file.numbered and any(old._replace(numbered=False) == file for old in self.files)

    def refuses(self, file: File, now: datetime) -> bool:
        """Whether a file is refused: it is known, late, from the future, or takes over what it must not."""
        last = self._last_cut(file.feed) or file.cut_at
        # A whole file corrects a cut-off that a wrong clock has let into the future.
        corrects = file.whole and last > now + TOLERANCE
        late = file.cut_at > now + TOLERANCE or (file.cut_at < last and not corrects)
        declared = ((file.since, self.complete_since), (file.tracking_since, self.tracking_since))
        reduces = any(since and file.feed in before and since > before[file.feed] for since, before in declared)
        return (
            late
            or self._was_loaded(file)
            or (reduces and not file.whole)
            or bool(file.taken_feed and self._takes_too_much(file))
        )

    def _was_loaded(self, file: File) -> bool:
        """Whether the rows of a file were loaded before, and it states nothing new of them."""
        filled = [old for old in self.files if old.rows]
        newest = {old.feed: old for old in filled}
        taken = newest.get(str(file.taken_feed))
        ignored = file.taken_feed if taken and taken.content == file.content else None
        same = [old for old in filled if old.content == file.content and old.feed != ignored]
        if not same:
            return False
        if same[-1] is not newest.get(file.feed):
            return True
        known, stands = same[-1], (self.complete_since.get(file.feed), self.tracking_since.get(file.feed))
        replaces = self.is_dated and file.replaces and not known.replaces
        unchanged = file.whole and (file.numbered or not known.whole)
        return not (unchanged or replaces or self._claims(file) != stands)

    def _takes_too_much(self, file: File) -> bool:
        """Whether a file takes over records of a feed that has newer ones, or without the dates that hold for both."""
        taken = str(file.taken_feed)
        newest = self._last_cut(taken)
        if newest is None or file.cut_at < newest:
            return True
        since, tracking = self._claims(file)
        for new, stands, other in (
            (file.since, since, self.complete_since.get(taken)),
            (file.tracking_since, tracking, self.tracking_since.get(taken)),
        ):
            if new or (file.whole and not self.is_dated):
                continue
            widens = stands and (other is None or stands < other)
            if widens or (file.whole and (stands or other)):
                return True
        return False

    def rejects(self, file: File, now: datetime) -> bool:
        """Whether a row is of another feed's record, or of one that a newer file of another feed has removed."""
        own = (file.feed, file.taken_feed)
        records = {row.get(self.record, "") for row in file.rows}
        removed = {
            one.record for one in self.removals if one.feed != file.feed and file.cut_at < one.cut_at <= now + TOLERANCE
        }
        return any(self.feed_of.get(record, file.feed) not in own or record in removed for record in records)

    def _last_cut(self, feed: str) -> datetime | None:
        return next((old.cut_at for old in reversed(self.files) if old.feed == feed), None)

    def _claims(self, file: File) -> tuple[date | None, date | None]:
        """Return the dates that the file's feed has declared once it is loaded."""
        since = file.since or self.complete_since.get(file.feed) or (self.first_date if file.whole else None)
        return since, file.tracking_since or self.tracking_since.get(file.feed)

    def load(self, file: File) -> None:
        """Apply a file."""
        since, tracking = self._claims(file)
        self.files.append(file)
        if since:
            self.complete_since[file.feed] = since
        if tracking:
            self.tracking_since[file.feed] = tracking
        self.coverage = self._coverage()

    def _coverage(self) -> Coverage | None:
        """Return the coverage that the last files of the required feeds give together."""
        cuts = [self._last_cut(feed) for feed in self.required]
        since = [self.complete_since.get(feed) for feed in self.required]
        if None in cuts or None in since:
            return None
        tracking = [self.tracking_since.get(feed) for feed in self.required]
        return Coverage(
            max(day for day in since if day),
            min(cut for cut in cuts if cut),
            None if None in tracking else max(day for day in tracking if day),
        )

    def _changed_records(self, file: File) -> tuple[set[str], set[str]]:
        """Return the records of a file, which belong to its feed now, and those that it removes."""
        records = {row[self.record] for row in file.rows}
        owned = {record for record, feed in self.feed_of.items() if feed == file.feed}
        removed = owned - records if file.whole else set()
        for record in removed:
            del self.feed_of[record]
        self.removals += [Removal(record, file.feed, file.cut_at) for record in removed]
        self.feed_of |= dict.fromkeys(records, file.feed)
        return records, removed

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

    required: tuple[str, ...] = NOTE_FEEDS
    record: str = "serial"

    def load(self, file: File) -> None:
        """Notes replace those of the same serial; the list of members is replaced whole."""
        super().load(file)
        if file.feed == MEMBERS:
            self.members = {row["agency_id"] for row in file.rows}
            return
        _, removed = self._changed_records(file)
        kept = {serial: note for serial, note in self.notes.items() if serial not in removed}
        self.notes = kept | {row["serial"]: row for row in file.rows}

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

    required: tuple[str, ...] = CASE_FEEDS
    record: str = "case_number"
    first_date: date = FIRST_DATE
    is_dated: bool = True

    def load(self, file: File) -> None:
        """A case replaces the case of the same number; its parties are added to the earlier ones, or replace them."""
        super().load(file)
        numbers, removed = self._changed_records(file)
        self.cases = {number: rows for number, rows in self.cases.items() if number not in removed}
        for number in numbers:
            rows = [row for row in file.rows if row["case_number"] == number]
            merges = not (file.whole or file.replaces_parties)
            self.cases[number] = rows + (_others(self.cases.get(number, []), rows) if merges else [])

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
