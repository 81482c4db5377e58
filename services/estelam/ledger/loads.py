"""Notes of loads in the ledger.

An entry after the note of a load was answered from data that includes the load, one before it from data without it: the
batch that first sees a load notes it before its own answers, in the same transaction. So the order of entries, not a
clock, says which data an answer is from.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from estelam.core.clock import to_datetime
from estelam.ledger.basis import Basis
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import FactNote, NoteKind, PassOn, StoredEntry, fact_note_table, parsed_notes
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import load_table
from estelam.storage.statements import Statement

_load, _note = load_table.c, fact_note_table.c
_LOADS = select(load_table).order_by(_load.number)
_EVERY = Statement(_LOADS)
_AFTER = Statement(_LOADS.where(_load.number > bindparam("number")))
_BY_NUMBER = Statement(select(_load.sha256).where(_load.number == bindparam("number")))
_NOTED = Statement(
    select(_note.sha256)
    .where(_note.kind == NoteKind.LOAD.value, _note.number == bindparam("number"))
    .order_by(_note["index"].desc())
    .limit(1)
)
_COUNTS = ("rows", "added", "changed", "unchanged", "removed")
DIGESTS = 2**256
"""Digests of rows are added up modulo this number (`estelam.loading.rows_digest`)."""


class LoadNote(NamedTuple):
    """The note of one load: the index of its entry, and from when on answers include it."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    noted_at_micros: int
    facts: dict[str, Any]
    """load, feed, feed_number, whole, sha256, rows_digest, cut_at, counts, taken_feed if there is one; of the newest
    load also the store's coverage after it."""
    coverage: Coverage | None
    """The store's coverage after the load; None if it was not the newest, so that no answer is from it."""

    @property
    def load(self) -> int:
        """The load's number."""
        return int(self.facts["load"])


def unnoted(connection: Connection, basis: Basis) -> list[FactNote]:
    """Return the notes of the loads that the ledger has not noted, oldest first.

    Where facts were restored or rebuilt, the load that was noted last is not among them: then all loads after the
    newest one that was ever noted, and if that is the newest load, this load again.
    """
    last = basis.noted_load
    if basis.newest_load == last:
        return []
    if last and [row.sha256 for row in _BY_NUMBER.rows(connection, number=last.number)] == [last.sha256]:
        rows = _AFTER.rows(connection, number=last.number)
    else:
        every = _EVERY.rows(connection)
        newest_first = takewhile(lambda load: not _is_noted(connection, load), reversed(every))
        rows = list(newest_first)[::-1] or every[-1:]
    return [_fact_note(row) for row in rows[:-1]] + [
        _fact_note(row, coverage.read_coverage(connection)) for row in rows[-1:]
    ]


def _is_noted(connection: Connection, load: Any) -> bool:
    return [row.sha256 for row in _NOTED.rows(connection, number=load.number)] == [load.sha256]


def notes(connection: Connection, verified: PassOn) -> Iterator[LoadNote]:
    """Yield the note of each load, in the order of the ledger."""
    return parsed_notes(connection, NoteKind.LOAD, verified, _load_note)


def _load_note(stored: StoredEntry, facts: Any) -> LoadNote:
    int(facts["load"])
    if (cut_at := facts.get("cut_at")) is not None:
        datetime.fromisoformat(cut_at)
    return LoadNote(stored.index, stored.entry.answered_at_micros, facts, _coverage(facts.get("coverage")))


class ExpectedRows(NamedTuple):
    """What the stored rows of a feed must be."""

    load: int
    """The feed's newest load."""
    digest: int | None
    """The digest of all its rows; None: its loads do not say, because one since its last whole file replaced rows."""


def expected_rows(connection: Connection, noted: Sequence[LoadNote]) -> dict[str, ExpectedRows]:
    """Return by feed what the stored rows must be, by the *noted* loads, which are verified.

    A whole file is all rows of its feed; a delta is known to have added its rows only where it met none of them.

    Raises:
        LedgerCorruptError: a stored load is not the one that the ledger notes.
    """
    stated = {note.load: note.facts for note in noted}
    found: dict[str, ExpectedRows] = {}
    for load in _EVERY.rows(connection):
        facts = {name: value for name, value in _fact_note(load).facts.items() if value is not None}
        if not facts.items() <= stated.get(load.number, {}).items():
            raise LedgerCorruptError(f"load {load.number} of the facts is not the one that the ledger notes")
        before = found.get(load.feed, ExpectedRows(0, 0)).digest
        is_added = before is not None and not (load.changed or load.unchanged or load.removed or load.taken_feed)
        digest = None
        if load.whole or is_added:
            if not re.fullmatch("[0-9a-f]{64}", load.rows_digest):
                raise LedgerCorruptError(f"load {load.number} of the facts has no digest of its rows")
            digest = (int(load.rows_digest, 16) + (0 if load.whole else before or 0)) % DIGESTS
        found[load.feed] = ExpectedRows(load.number, digest)
        if load.taken_feed and load.taken_feed in found:
            found[load.taken_feed] = found[load.taken_feed]._replace(digest=None)
    return found


def _coverage(stated: dict[str, str] | None) -> Coverage | None:
    if stated is None:
        return None
    tracking = stated.get("tracking_since")
    return Coverage(
        date.fromisoformat(stated["since"]),
        datetime.fromisoformat(stated["as_of"]),
        date.fromisoformat(tracking) if tracking else None,
    )


def _fact_note(load: Any, covered: Coverage | None = None) -> FactNote:
    facts = {
        "feed": load.feed,
        "feed_number": load.feed_number,
        "whole": load.whole,
        "sha256": load.sha256,
        "rows_digest": load.rows_digest,
        "taken_feed": load.taken_feed,
        "cut_at": to_datetime(load.cut_at_micros).isoformat(),
        **{name: getattr(load, name) for name in _COUNTS},
    }
    if covered:
        facts["coverage"] = {name: value.isoformat() for name, value in asdict(covered).items() if value is not None}
    return FactNote(NoteKind.LOAD, load.number, facts)
