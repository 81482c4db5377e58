"""Notes of loads in the ledger.

An entry after the note of a load was answered from data that includes the load, one before it from data without it: the
batch that first sees a load notes it before its own answers, in the same transaction. So the chain, not a clock, says
which data an answer is from.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select

from estelam.core.clock import to_datetime
from estelam.ledger.tables import FactNote, NoteKind, fact_note_table, note_entries
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import load_table

_note = fact_note_table.c
_LAST = select(_note.number).where(_note.kind == NoteKind.LOAD.value).order_by(_note.sequence.desc()).limit(1)
_COUNTS = ("rows", "added", "changed", "unchanged", "removed")


class LoadNote(NamedTuple):
    """The note of one load: its entry, and from when on answers include it."""

    entry: int
    noted_at_micros: int
    facts: dict[str, Any]
    """load, feed, feed_number, whole, sha256, cut_at, counts; of the newest load also the store's coverage after it."""
    coverage: Coverage | None
    """The store's coverage after the load; None if it was not the newest, so that no answer is from it."""

    @property
    def load(self) -> int:
        """The load's number."""
        return int(self.facts["load"])


def last_noted(connection: Connection) -> int:
    """Return the number of the load that the newest note is about; 0 if there is none."""
    return connection.execute(_LAST).scalar() or 0


def unnoted(connection: Connection, newest: int) -> list[FactNote]:
    """Return the notes of the loads up to load *newest* that the ledger has not noted, oldest first.

    Where facts were restored from a backup, the ledger has noted later loads: then load *newest* is noted again.
    """
    last = last_noted(connection)
    if newest in {0, last}:
        return []
    number = load_table.c.number
    wanted = number > last if newest > last else number == newest
    rows = connection.execute(select(load_table).where(wanted, number <= newest).order_by(number)).all()
    return [_fact_note(row) for row in rows[:-1]] + [_fact_note(rows[-1], coverage.read_coverage(connection))]


def notes(connection: Connection) -> Iterator[LoadNote]:
    """Yield the note of each load, in the order of the ledger."""
    for entry in note_entries(connection, NoteKind.LOAD):
        facts = json.loads(entry.notice)
        yield LoadNote(entry.sequence, entry.answered_at_micros, facts, _coverage(facts.get("coverage")))


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
        "cut_at": None if load.cut_at_micros is None else to_datetime(load.cut_at_micros).isoformat(),
        **{name: getattr(load, name) for name in _COUNTS},
    }
    if covered:
        facts["coverage"] = {name: value.isoformat() for name, value in asdict(covered).items() if value is not None}
    return FactNote(NoteKind.LOAD, load.number, facts)
