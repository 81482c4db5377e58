"""Runs of recall, and their notes in the ledger.

Only the service writes the ledger. So a run is stored as a row of the facts before it shows any answer, and the service
notes the row in the ledger when it starts or at its next health check.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import SQLAlchemyError

from estelam.core.clock import to_datetime
from estelam.ledger.tables import FactNote, NoteKind, PassOn, StoredEntry, fact_note_table, parsed_notes
from estelam.storage.facts import recall_run_table
from estelam.storage.statements import Statement
from estelam.storage.store import AccessMode, Store, StoreError

_noted, _run = fact_note_table.c, recall_run_table.c
_NOTED = select(_noted.number).where(_noted.kind == NoteKind.RECALL.value)
_UNNOTED = Statement(select(recall_run_table).where(_run.run_at_micros.not_in(_NOTED)).order_by(_run.run_at_micros))


class RecallRun(NamedTuple):
    """One run of recall."""

    run_at_micros: int
    after_load: int
    """The last load that was left out."""
    newest_load: int
    answers: int
    """The number of answers listed."""


class RecallNote(NamedTuple):
    """The note of one run of recall: the index of its entry, and when the service wrote it."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    noted_at_micros: int
    run: RecallRun


def store_run(url: str, run: RecallRun) -> None:
    """Store *run* in the facts at *url*, in a transaction of its own.

    Raises:
        StoreError: it can't be stored.
    """
    try:
        with closing(Store(url, facts=AccessMode.APPEND)) as store, store.transaction() as connection:
            connection.execute(insert(recall_run_table).values(run._asdict()))
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(
            "the run of recall can't be stored, so nothing is listed; check that this user may add rows to "
            "facts.recall_run, and that no load is running, and run the command again"
        ) from error


def unnoted(connection: Connection) -> list[FactNote]:
    """Return the notes of the runs that the ledger has not noted, oldest first."""
    return [_fact_note(RecallRun(*row)) for row in _UNNOTED.rows(connection)]


def notes(connection: Connection, verified: PassOn) -> Iterator[RecallNote]:
    """Yield the note of each run of recall, in the order of the ledger."""
    return parsed_notes(connection, NoteKind.RECALL, verified, _note)


def _note(stored: StoredEntry, facts: Any) -> RecallNote:
    run = RecallRun(*(int(facts[name]) for name in ("recall", "after", "newest", "answers")))
    to_datetime(run.run_at_micros)
    return RecallNote(stored.index, stored.entry.answered_at_micros, run)


def _fact_note(run: RecallRun) -> FactNote:
    facts = {
        "run_at": to_datetime(run.run_at_micros).isoformat(timespec="microseconds"),
        "after": run.after_load,
        "newest": run.newest_load,
        "answers": run.answers,
    }
    return FactNote(NoteKind.RECALL, run.run_at_micros, facts)
