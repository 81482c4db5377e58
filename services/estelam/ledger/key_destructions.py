"""Notes of destroyed HMAC keys: which key, who destroyed it and why, so that no search can be shortened unnoticed."""

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection

from estelam.core.clock import to_datetime
from estelam.core.dates import today
from estelam.ledger.tables import FactNote, NoteKind, PassOn, StoredEntry, check_text, parsed_notes

RETENTION = timedelta(days=3653)
"""How long after its last entry a key is kept: 10 years (docs/retention.md)."""


class KeyDestructionNote(NamedTuple):
    """The note that a key is destroyed: the index of its entry, and when it was written, before the key was erased."""

    index: int  # type: ignore[assignment]  # it hides the method of tuples
    noted_at_micros: int
    key_id: str
    operator: str
    reason: str

    @property
    def destroyed_on(self) -> date:
        """The day of the note in Iran."""
        return today(to_datetime(self.noted_at_micros))


def fact_note(key_id: str, *, micros: int, operator: str, reason: str) -> FactNote:
    """Return the note that *operator* destroys the key *key_id* at *micros* (microseconds since 1970), and why."""
    return FactNote(NoteKind.KEY_DESTRUCTION, micros, {"key": key_id, "operator": operator, "reason": reason})


def notes(connection: Connection, verified: PassOn) -> Iterator[KeyDestructionNote]:
    """Yield the note of each destroyed key, in the order of the ledger."""
    return parsed_notes(connection, NoteKind.KEY_DESTRUCTION, verified, _note)


def _note(stored: StoredEntry, facts: Any) -> KeyDestructionNote:
    texts = (facts["key"], facts["operator"], facts["reason"])
    return KeyDestructionNote(stored.index, stored.entry.answered_at_micros, *map(check_text, texts))
