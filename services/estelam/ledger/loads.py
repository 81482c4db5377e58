"""Notes of loads in the ledger.

An entry after the note of a load was answered from data that includes the load, one before it from data without it: the
batch that first sees a load notes it before its own answers, in the same transaction. So the order of entries, not a
clock, says which data an answer is from.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, select

from estelam.core.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.tables import FactNote, NoteKind, entry_table, fact_note_table, note_entries
from estelam.storage import coverage
from estelam.storage.coverage import Coverage, LoadId
from estelam.storage.facts import load_table

_load, _note = load_table.c, fact_note_table.c
_NEWEST_FIRST = (
    select(entry_table.c.leaf)
    .join(fact_note_table, _note["index"] == entry_table.c["index"])
    .where(_note.kind == NoteKind.LOAD.value)
    .order_by(_note["index"].desc())
)
_COUNTS = ("rows", "added", "changed", "unchanged", "removed")


class LoadNote(NamedTuple):
    """The note of one load: the index of its entry, and from when on answers include it."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    noted_at_micros: int
    facts: dict[str, Any]
    """load, feed, feed_number, whole, sha256, cut_at, counts; of the newest load also the store's coverage after it."""
    coverage: Coverage | None
    """The store's coverage after the load; None if it was not the newest, so that no answer is from it."""

    @property
    def load(self) -> int:
        """The load's number."""
        return int(self.facts["load"])


def unnoted(connection: Connection) -> list[FactNote]:
    """Return the notes of the loads that the ledger has not noted, oldest first.

    Where facts were restored or rebuilt, the load that was noted last is not among them: then all loads after the
    newest one that was ever noted, and if that is the newest load, this load again.
    """
    stored = select(load_table).order_by(_load.number)
    last = _last_noted(connection)
    if (
        last
        and last == connection.execute(select(_load.number, _load.sha256).where(_load.number == last.number)).first()
    ):
        rows = connection.execute(stored.where(_load.number > last.number)).all()
    else:
        every = connection.execute(stored).all()
        newest_first = takewhile(lambda load: not _is_noted(connection, load), reversed(every))
        rows = list(newest_first)[::-1] or every[-1:]
    return [_fact_note(row) for row in rows[:-1]] + [
        _fact_note(row, coverage.read_coverage(connection)) for row in rows[-1:]
    ]


def _is_noted(connection: Connection, load: Row[*tuple[Any, ...]]) -> bool:
    return _last_noted(connection, _note.number == load.number) == (load.number, load.sha256)


def _last_noted(connection: Connection, *conditions: ColumnElement[bool]) -> LoadId | None:
    """Return the load that the newest note, of those that satisfy *conditions*, is about; None if there is none."""
    leaf = connection.execute(_NEWEST_FIRST.where(*conditions).limit(1)).scalar()
    if leaf is None:
        return None
    facts = json.loads(pb.Entry.FromString(leaf).notice)
    return LoadId(facts["load"], facts["sha256"])


def notes(connection: Connection) -> Iterator[LoadNote]:
    """Yield the note of each load, in the order of the ledger."""
    for stored in note_entries(connection, NoteKind.LOAD):
        facts = json.loads(stored.entry.notice)
        yield LoadNote(stored.index, stored.entry.answered_at_micros, facts, _coverage(facts.get("coverage")))


def _coverage(stated: dict[str, str] | None) -> Coverage | None:
    if stated is None:
        return None
    tracking = stated.get("tracking_since")
    return Coverage(
        date.fromisoformat(stated["since"]),
        datetime.fromisoformat(stated["as_of"]),
        date.fromisoformat(tracking) if tracking else None,
    )


def _fact_note(load: Row[*tuple[Any, ...]], covered: Coverage | None = None) -> FactNote:
    facts = {
        "feed": load.feed,
        "feed_number": load.feed_number,
        "whole": load.whole,
        "sha256": load.sha256,
        "cut_at": to_datetime(load.cut_at_micros).isoformat(),
        **{name: getattr(load, name) for name in _COUNTS},
    }
    if covered:
        facts["coverage"] = {name: value.isoformat() for name, value in asdict(covered).items() if value is not None}
    return FactNote(NoteKind.LOAD, load.number, facts)
