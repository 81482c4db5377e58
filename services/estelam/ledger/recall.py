"""Recall: finds past answers that would be different now, after late or corrected data.

It takes the subjects of the facts that loads changed, finds the entries about them by keyed hash, and re-evaluates each
entry from today's facts. The ledger holds no identifier; the facts do. Which data an answer is from is read from
the order of entries (`estelam.ledger.loads`), not from a clock.
"""

import contextlib
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import chain, islice, pairwise
from operator import attrgetter
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection, func, select

from estelam.core.clock import to_datetime, to_micros
from estelam.core.exceptions import UsageError
from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import basis, key_use, loads, lost_loads, search
from estelam.ledger.changed_subjects import ChangedSubjects
from estelam.ledger.loads import LoadNote
from estelam.ledger.tables import PassOn, StoredEntry, annulments, index_key
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import load_table
from estelam.storage.store import Store, StoreError

ROWS_AT_ONCE = 2000
ENTRIES_AT_ONCE = 500
POLL_SECONDS = 0.2

T = TypeVar("T")


class RecallOutcome(StrEnum):
    """An answer: as recorded in an entry, or as it would be now."""

    YES = "YES"
    NO = "NO"
    DISCLOSED = "DISCLOSED"
    REFUSED = "REFUSED"
    INDETERMINATE = "INDETERMINATE"
    """Parties would be disclosed, but the facts have changed since: they may be others."""
    UNCOVERED = "UNCOVERED"
    """Still NO, but today's data is complete for less than it was declared to be when the answer was given."""


ANSWERED: Mapping[int, RecallOutcome] = {
    pb.OUTCOME_YES: RecallOutcome.YES,
    pb.OUTCOME_NO: RecallOutcome.NO,
    pb.OUTCOME_DISCLOSED: RecallOutcome.DISCLOSED,
}
"""What was answered, by the outcome that an entry states."""


class PastAnswer(NamedTuple):
    """An answered inquiry with its first subject."""

    subject: Subject
    stored: StoredEntry


IsBefore = Callable[[int, int], bool]
"""Returns whether an entry, by its index, may be from data without a load, by its number."""


class RecallSource(Protocol):
    """A service's access to its facts."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Yield once each subject whose answers may have changed by a load after load number *after*."""

    def reevaluate(
        self, connection: Connection, keyring: HmacKeyring, asked: Sequence[PastAnswer], is_before: IsBefore
    ) -> Sequence[RecallOutcome]:
        """Return the answer that each of *asked* would get now."""

    def stated(self, method: str, declared: Coverage) -> Coverage:
        """Return what an answer of *method* states of the *declared* coverage."""


class Recalled(NamedTuple):
    """A past answer that would be different now."""

    caller: str
    inquiry_id: str
    answered_at: str
    method: str
    then: RecallOutcome
    now: RecallOutcome
    index: int  # type: ignore[assignment]  # it hides the method of tuples
    annulled_by: int | None
    """The later entry by which the caller is known to have got no answer; None: there is none."""


class Snapshot(NamedTuple):
    """One state of facts and ledger: every answer from data without the newest load is in it."""

    connection: Connection
    notes: list[LoadNote]
    newest: int
    """The number of the newest load; 0 if there is none."""
    unnoted: frozenset[int]
    """The numbers of the loads that are not noted yet; an older note of such a number is of another file."""

    def note_of(self, load: int) -> LoadNote | None:
        """Return the note from which on answers include *load*; None if the load is not noted yet."""
        if load in self.unnoted:
            return None
        return next((note for note in reversed(self.notes) if note.load == load), None)

    def is_before(self, index: int, load: int) -> bool:
        """Return whether entry *index* may be from data without *load*; true for each if the load is not noted yet."""
        note = self.note_of(load)
        return note is None or index < note.index


@contextlib.contextmanager
def settled_snapshot(store: Store, settle_seconds: float) -> Iterator[Snapshot]:
    """Run a transaction that sees the newest load noted in the ledger.

    A service notes a load within a second. If none is running, the load stays unnoted: *settle_seconds* after it was
    first seen, answers that were under way are recorded, and all so far count as before the load.

    Raises:
        StoreError: the facts lack loads that the ledger notes, so that nothing can be compared with them.
    """
    seen: dict[int, float] = {}
    while True:
        with store.transaction() as connection:
            if lost := lost_loads.lost_loads(connection):
                raise StoreError(lost_loads.describe(lost))
            notes = list(loads.notes(connection, iter))  # `recall` verifies them
            newest, unnoted = (
                _last(connection),
                frozenset(note.number for note in loads.unnoted(connection, basis.start(connection)())),
            )
            since = seen.setdefault(newest, time.monotonic())
            if not unnoted or time.monotonic() - since >= settle_seconds:
                yield Snapshot(connection, notes, newest, unnoted)
                return
        time.sleep(min(POLL_SECONDS, settle_seconds))


def load_before(snapshot: Snapshot, since: int | datetime, now: datetime) -> int:
    """Return the number of the last load to leave out: load *since* itself, or the last one noted before that instant.

    Raises:
        StoreError: nothing has been loaded.
        UsageError: there is no such load, or the instant is in the future.
    """
    columns, connection = load_table.c, snapshot.connection
    last = snapshot.newest
    if not last:
        raise StoreError("nothing has been loaded yet, so there is nothing to recall")
    if isinstance(since, datetime):
        if since > now:
            raise UsageError("--since is in the future")
        noted_before = {note.load: note.noted_at_micros < to_micros(since) for note in snapshot.notes}
        numbers = connection.execute(select(columns.number)).scalars()
        later = (number for number in numbers if number in snapshot.unnoted or not noted_before.get(number))
        since = min(later, default=last + 1) - 1
    if not 0 <= since <= last:
        raise UsageError(f"--since: there is no such load; the last one is {last}")
    return since


def _last(connection: Connection) -> int:
    return connection.execute(select(func.max(load_table.c.number))).scalar() or 0


def recall(
    snapshot: Snapshot,
    keyring: HmacKeyring,
    facts: RecallSource,
    after: int,
    verified: PassOn,
    archived: Sequence[Connection] = (),
) -> Iterator[Recalled]:
    """Yield every answer that would be different now, among those that a load after load *after* may have changed.

    *archived* are connections to the files of archived entries, *verified* passes on the entries that may be believed.

    Answers whose stated coverage was deeper than today's come last; one of them may have been yielded before.

    Raises:
        StoreError: the keyring lacks a key that entries were written with, or holds another one under its id.
        LedgerCorruptError: an entry is not covered by the ledger's newest checkpoint.
    """
    annulled = annulments(snapshot.connection)
    for stored, now in reevaluated(snapshot, keyring, facts, after, verified, archived):
        if now != ANSWERED[stored.entry.outcome]:
            yield _recalled(stored, now, annulled)
    for stored in uncovered(snapshot, facts, after, verified, archived):
        yield _recalled(stored, RecallOutcome.UNCOVERED, annulled)


def reevaluated(
    snapshot: Snapshot,
    keyring: HmacKeyring,
    facts: RecallSource,
    after: int,
    verified: PassOn,
    archived: Sequence[Connection] = (),
) -> Iterator[tuple[StoredEntry, RecallOutcome]]:
    """Yield every answer about what a load after load *after* changed, and what it would be now; see `recall`."""
    connection = snapshot.connection
    key_use.require_all_keys(connection, keyring)
    for _ in loads.notes(connection, verified):
        pass  # those of the snapshot, which say what data an answer is from
    with ChangedSubjects(keyring) as changed:
        keys = changed.fill(facts.changed(connection, after))
        sources = (*archived, connection)
        entries = chain.from_iterable(search.entries_by_subject(source, changed, keys) for source in sources)
        for asked in batched(_past_answers(verified(entries), changed, keyring), ENTRIES_AT_ONCE):
            outcomes = facts.reevaluate(connection, keyring, asked, snapshot.is_before)
            yield from zip((stored for _, stored in asked), outcomes, strict=True)


def _past_answers(
    entries: Iterator[StoredEntry], changed: ChangedSubjects, keyring: HmacKeyring
) -> Iterator[PastAnswer]:
    answers = (each for each in entries if each.entry.outcome in ANSWERED and each.keys.subjects)
    for batch in batched(answers, ROWS_AT_ONCE):
        subjects = changed.subjects({index_key(each.keys.subjects[0]) for each in batch})
        for each in batch:
            # Index keys may collide: the whole hash decides.
            for subject in subjects[index_key(each.keys.subjects[0])]:
                if each.keys.subjects[0] in keyring.hashes_under_all_keys(subject):
                    yield PastAnswer(subject, each)


def uncovered(
    snapshot: Snapshot,
    facts: RecallSource,
    after: int,
    verified: PassOn,
    archived: Sequence[Connection] = (),
) -> Iterator[StoredEntry]:
    """Yield each NO that stated deeper coverage than today's, unless it did so before load *after* already."""
    connection, today = snapshot.connection, coverage.read_coverage(snapshot.connection)
    base_note = snapshot.note_of(after)
    base = base_note and base_note.coverage
    # Answers from before the first note may have stated the deepest coverage.
    unnoted = LoadNote(-1, 0, {"load": 0}, _deepest(connection))
    for note, following in pairwise([unnoted, *snapshot.notes, None]):
        declared = note and note.coverage
        if note is None or declared is None or not declared.is_deeper_than(today):
            continue
        earlier = base if note.load < after else None
        first, end = note.index + 1, following and following.index
        sources = (*archived, connection)
        found = chain.from_iterable(search.entries_between(source, first, end) for source in sources)
        for stored in verified(found):
            entry = stored.entry
            if entry.outcome != pb.OUTCOME_NO or not _is_deeper(facts, entry.method, declared, today):
                continue
            if earlier is None or not _is_deeper(facts, entry.method, declared, earlier):
                yield stored


def coverage_check(snapshot: Snapshot, facts: RecallSource) -> Callable[[StoredEntry], bool]:
    """Return a function that returns whether an entry is a NO that stated deeper coverage than today's."""
    today, deepest = coverage.read_coverage(snapshot.connection), _deepest(snapshot.connection)

    def is_uncovered(stored: StoredEntry) -> bool:
        before = bisect_left(snapshot.notes, stored.index, key=attrgetter("index"))
        declared = snapshot.notes[before - 1].coverage if before else deepest
        is_no = stored.entry.outcome == pb.OUTCOME_NO
        return is_no and declared is not None and _is_deeper(facts, stored.entry.method, declared, today)

    return is_uncovered


def _deepest(connection: Connection) -> Coverage | None:
    deepest = connection.execute(select(func.min(load_table.c.covered_since))).scalar()
    return Coverage(deepest, to_datetime(0), deepest) if deepest else None


def _is_deeper(facts: RecallSource, method: str, declared: Coverage, other: Coverage | None) -> bool:
    return facts.stated(method, declared).is_deeper_than(other and facts.stated(method, other))


def _recalled(stored: StoredEntry, now: RecallOutcome, annulled: Mapping[int, int]) -> Recalled:
    entry = stored.entry
    return Recalled(
        caller=entry.caller,
        inquiry_id=str(UUID(bytes=entry.inquiry_id)),
        answered_at=to_datetime(entry.answered_at_micros).isoformat(timespec="microseconds"),
        method=entry.method.rpartition("/")[2],
        then=ANSWERED[entry.outcome],
        now=now,
        index=stored.index,
        annulled_by=annulled.get(stored.index),
    )


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield *items* in lists of *size*; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
