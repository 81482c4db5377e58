"""Comparisons of answers with the facts: after each load, they find the answers that it changed, and store the changes.

A comparison takes the answers about what changed since the last one (`estelam.ledger.recall`), and stores every change
of an answer, also that it changed back. When all are stored it stores that it is completed, with the load. So one that
was interrupted is repeated, and finds what it stored already.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select

from estelam.core.clock import to_micros
from estelam.core.keys import HmacKeyring
from estelam.inquiry.v1 import answer_change_pb2 as pb
from estelam.ledger import key_destructions, loads, lost_loads, recall
from estelam.ledger.answer_changes import LAST_COMPARISON, NEWEST_LOAD
from estelam.ledger.recall import ANSWERED, RecallOutcome, RecallSource, Snapshot
from estelam.ledger.tables import (
    NOTICES,
    STORED_COLUMNS,
    SUBJECTS_OF_NOTES,
    NoteKind,
    PassOn,
    StoredEntry,
    annulments,
    answer_change_table,
    answer_comparison_table,
    archive_table,
    entry_table,
    fact_note_table,
    index_key,
)
from estelam.storage import coverage
from estelam.storage.facts import load_table
from estelam.storage.store import Store

# So few findings in one transaction, because inquiries wait for it.
_AT_ONCE = 100
_LOCK = 6_002_097_126  # any number that no other lock of the database uses
_change, _load, _note = answer_change_table.c, load_table.c, fact_note_table.c
_INDEX, _SUBJECT = entry_table.c["index"], entry_table.c.subject_1
_NOTED_LOAD = (
    select(_note["index"], _note.number, _note.sha256)
    .where(_note.kind == NoteKind.LOAD.value)
    .order_by(_note["index"].desc())
    .limit(1)
)
_STATE = {outcome: pb.AnswerState.Value(f"ANSWER_STATE_{outcome.value}") for outcome in RecallOutcome}
_UNCOVERED = _STATE[RecallOutcome.UNCOVERED]


class SupersededError(Exception):
    """A newer load has been noted, or another process has completed the comparison."""


class Comparison(NamedTuple):
    """A completed comparison."""

    load: int
    changes: int
    """The number of changes of answers that it stored."""


class _Target(NamedTuple):
    """What answers are compared with: the newest load, and the entry that notes it."""

    through_index: int
    load_number: int
    sha256: str


class _Finding(NamedTuple):
    """An answer, and what it would be now."""

    stored: StoredEntry
    now: RecallOutcome
    is_of_coverage: bool = False
    """Whether only its coverage was compared: then it says nothing of an answer that records have changed."""

    @property
    def then(self) -> int:
        return _STATE[ANSWERED[self.stored.entry.outcome]]


def compare(
    store: Store,
    write: Callable[[Callable[[Connection], None]], object],
    keyring: HmacKeyring,
    facts: RecallSource,
    verified_rows: Callable[[Connection], PassOn],
) -> Comparison | None:
    """Compare the answers that the newest load may have changed with the facts, and store the changes.

    Return None, and do nothing, if that is done, or the ledger has not noted the newest load, or no coverage is
    declared, or another process compares. The ledger is read over *store*; *write* runs work in a transaction that may
    write.

    Raises:
        SupersededError: there is a newer load.
        StoreError, LedgerCorruptError: as `estelam.ledger.recall.recall`.
    """
    with store.transaction() as connection:
        target, covered = _target(connection), coverage.read_coverage(connection)
        if target is None or covered is None or not _is_only_process(connection):
            return None
        as_of, changes = to_micros(covered.as_of), 0
        found = _findings(connection, target, keyring, facts, verified_rows(connection))
        for part in recall.batched(found, _AT_ONCE):
            if _due(connection, part):
                changes += _written(write, target, lambda ledger, part=part: _store(ledger, target, part, as_of))  # type: ignore[misc]
        row = (target.through_index, _first_index(connection, target), target.load_number, target.sha256)
        _written(write, target, lambda ledger: ledger.execute(insert(answer_comparison_table).values(row)).rowcount)
    return Comparison(target.load_number, changes)


def _target(connection: Connection) -> _Target | None:
    """Return what is to be compared; None if nothing is, or the newest load is not noted, or noted ones are lost."""
    newest, noted = connection.execute(NEWEST_LOAD).first(), connection.execute(_NOTED_LOAD).first()
    if newest is None or noted is None or _Target(*noted)[1:] != tuple(newest):
        return None
    target = _Target(*noted)
    return target if _is_open(connection, target) and not lost_loads.lost_loads(connection) else None


def _is_open(connection: Connection, target: _Target) -> bool:
    """Return whether *target* is the load noted last, and not compared yet."""
    noted, last = connection.execute(_NOTED_LOAD).first(), connection.execute(LAST_COMPARISON).first()
    return noted is not None and tuple(noted) == target and (last is None or last.through_index < target.through_index)


def _written(
    write: Callable[[Callable[[Connection], None]], object], target: _Target, work: Callable[[Connection], int]
) -> int:
    """Return the result of *work*, done in a transaction of *write* under the append lock.

    Raises:
        SupersededError: *target* is not to be compared any more.
    """
    results: list[int] = []

    def run(ledger: Connection) -> None:
        if _is_open(ledger, target):
            results.append(work(ledger))

    write(run)
    if not results:
        raise SupersededError
    return results[0]


def _is_only_process(connection: Connection) -> bool:
    """Return whether no other process compares, until the transaction ends; SQLite allows no other."""
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK))).scalar())


def _findings(
    connection: Connection, target: _Target, keyring: HmacKeyring, facts: RecallSource, verified: PassOn
) -> Iterator[_Finding]:
    """Yield every answer that may have changed by the loads since the last comparison."""
    if not _has_answers(connection, target.through_index):
        return
    annulled, archived_end = annulments(connection), _archived_end(connection)

    def believed(entries: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
        # Notes of loads stay in the store when their entries are archived; their proof needs the files.
        for stored in entries:
            yield from (stored,) if stored.index < archived_end else verified((stored,))

    snapshot = Snapshot(connection, list(loads.notes(connection, iter)), target.load_number, frozenset())
    is_uncovered, after = recall.coverage_check(snapshot, facts), _compared_load(connection)
    # The caller of an annulled answer got a refusal.
    for stored, now in recall.reevaluated(snapshot, keyring, facts, after, believed):
        if stored.index not in annulled:
            is_still_no = now is RecallOutcome.NO and is_uncovered(stored)
            yield _Finding(stored, RecallOutcome.UNCOVERED if is_still_no else now)
    for stored in chain(recall.uncovered(snapshot, facts, after, believed), _found_uncovered(connection)):
        if stored.index not in annulled:
            yield _Finding(stored, RecallOutcome.UNCOVERED if is_uncovered(stored) else RecallOutcome.NO, True)  # noqa: FBT003


def _has_answers(connection: Connection, end: int) -> bool:
    """Return whether the ledger has more before entry *end* than notes and notices; else all facts need no search."""
    others = [index_key(subject) for subject in (NOTICES, *SUBJECTS_OF_NOTES.values())]
    query = select(_INDEX).where(end > _INDEX, _SUBJECT.not_in(others)).order_by(_INDEX).limit(1)
    return connection.execute(query).first() is not None


def _archived_end(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(archive_table.c.end_index), 0))).scalar_one())


def _compared_load(connection: Connection) -> int:
    """Return the number of the load that was compared last, if the facts still have it; else 0."""
    last = connection.execute(LAST_COMPARISON).first()
    held = last and connection.execute(select(_load.sha256).where(_load.number == last.load_number)).scalar()
    return int(last.load_number) if last and held == last.sha256 else 0


def _found_uncovered(connection: Connection) -> Iterator[StoredEntry]:
    """Yield the entries that an earlier comparison found uncovered."""
    indexes = select(_change["index"]).where(_change.now_state == _UNCOVERED)
    query = select(*STORED_COLUMNS).where(_INDEX.in_(indexes)).order_by(_INDEX)
    with connection.execute(query, execution_options={"yield_per": recall.ROWS_AT_ONCE}) as rows:
        for row in rows:
            yield StoredEntry.parse(*row)


def _due(connection: Connection, part: Iterable[_Finding]) -> list[_Finding]:
    """Return those of *part* that differ from what is stored; of one entry, the first finding counts."""
    by_index = {each.stored.index: each for each in reversed(list(part))}
    query = select(_change["index"], _change.now_state).where(_change["index"].in_(by_index)).order_by(_change.number)
    stored = dict(connection.execute(query).all())  # the last one holds
    due = []
    for index, each in sorted(by_index.items()):
        state = stored.get(index, each.then)
        if _STATE[each.now] != state and not (each.is_of_coverage and state not in (each.then, _UNCOVERED)):
            due.append(each)
    return due


def _store(connection: Connection, target: _Target, part: Sequence[_Finding], as_of_micros: int) -> int:
    """Store those of *part* that are due, each with the next number of its caller; return how many."""
    due = _due(connection, part)
    callers = {each.stored.entry.caller for each in due}
    last = select(_change.caller, func.max(_change.number)).where(_change.caller.in_(callers)).group_by(_change.caller)
    numbers: dict[str, int] = dict(connection.execute(last).all())
    rows = []
    for each in due:
        entry = each.stored.entry
        numbers[entry.caller] = numbers.get(entry.caller, 0) + 1
        by_coverage = each.is_of_coverage or each.now is RecallOutcome.UNCOVERED
        rows.append(
            {
                "caller": entry.caller,
                "number": numbers[entry.caller],
                "index": each.stored.index,
                "inquiry_id": entry.inquiry_id,
                "then_state": each.then,
                "now_state": _STATE[each.now],
                "cause": pb.CHANGE_CAUSE_COVERAGE if by_coverage else pb.CHANGE_CAUSE_RECORDS,
                "load_number": target.load_number,
                "as_of_micros": as_of_micros,
            }
        )
    if rows:
        connection.execute(insert(answer_change_table), rows)
    return len(rows)


def _first_index(connection: Connection, target: _Target) -> int:
    """Return the first entry from which on the comparison is complete.

    It is not for archived entries, for those that may be under a key that was destroyed, and for those from data that
    the facts do not continue, because they were rebuilt or restored.
    """
    destroyed = [note.index + 1 for note in key_destructions.notes(connection, iter)]
    return max(_archived_end(connection), _first_of_data(connection, target), *destroyed)


def _first_of_data(connection: Connection, target: _Target) -> int:
    """Return the first note of a load after the last one that the facts do not have; 0 if they have all."""
    held = dict(connection.execute(select(_load.number, _load.sha256)).all())
    first, is_held = 0, True
    for note in loads.notes(connection, iter):
        first = first if is_held else note.index
        is_held = held.get(note.load) == note.facts["sha256"]
    return first if is_held else target.through_index
