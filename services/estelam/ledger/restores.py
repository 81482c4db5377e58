"""Notes of acknowledged restores: that the ledger's end was lost, who says so, and why it continues nevertheless."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection

from estelam.ledger.kept import Mismatch
from estelam.ledger.tables import FactNote, NoteKind, PassOn, StoredEntry, check_text, parsed_notes


class RestoreNote(NamedTuple):
    """The note of one acknowledged restore: the index of its entry, and when it was written."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    noted_at_micros: int
    kept: str
    """The kept checkpoint, SIZE:ROOT, that the ledger did not continue; "unreadable" if its file was damaged."""
    ledger: str
    """The ledger's newest checkpoint then, SIZE:ROOT."""
    operator: str
    reason: str


def fact_note(found: Mismatch, *, micros: int, operator: str, reason: str) -> FactNote:
    """Return the note that *operator* acknowledged the mismatch at *micros* (microseconds since 1970), and why."""
    facts = {"kept": found.kept, "ledger": found.ledger, "operator": operator, "reason": reason}
    return FactNote(NoteKind.RESTORE, micros, facts)


def notes(connection: Connection, verified: PassOn) -> Iterator[RestoreNote]:
    """Yield the note of each acknowledged restore, in the order of the ledger."""
    return parsed_notes(connection, NoteKind.RESTORE, verified, _note)


def _note(stored: StoredEntry, facts: Any) -> RestoreNote:
    texts = (facts["kept"], facts["ledger"], facts["operator"], facts["reason"])
    int(facts["ledger"].partition(":")[0])
    return RestoreNote(stored.index, stored.entry.answered_at_micros, *map(check_text, texts))


def loss_before(connection: Connection, verified: PassOn, size: int) -> RestoreNote | None:
    """Return the note of the last acknowledged restore that may have lost the state of *size* entries, if any.

    A checkpoint that was kept before it and lies beyond what the restore left is no state of the ledger.
    """
    found = [note for note in notes(connection, verified) if int(note.ledger.partition(":")[0]) < size]
    return found[-1] if found else None
