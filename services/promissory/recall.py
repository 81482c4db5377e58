"""Recall for notes: which notes have changed, and what the answers would be now."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, bindparam, literal, select, union

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.core.subjects import SubjectKind
from estelam.ledger.recall import ROWS_AT_ONCE, IsBefore, PastAnswer, RecallOutcome
from estelam.ledger.tables import StoredEntry
from estelam.storage.coverage import Coverage
from estelam.storage.facts import former_subject_table
from promissory.methods import CHECK_NOTE, GET_NOTE_PARTIES
from promissory.notes import confirmed_request
from promissory.repository import State, note_table

SERIAL = SubjectKind.SERIAL

_note = note_table.c
_SERIALS: BindParameter[str] = bindparam("serials", expanding=True)
_NOTES = select(
    _note.serial, _note.state, _note.obligor_id, _note.holder_id, _note.amount_rials, _note.load_number
).where(_note.serial.in_(_SERIALS))


class NoteRecallSource:
    """Implements `estelam.ledger.recall.RecallSource` for notes."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Yield the serial of every note that was added, changed or deleted."""
        former = former_subject_table.c
        query = union(
            select(literal(SERIAL).label("kind"), _note.serial.label("value")).where(_note.load_number > after),
            select(former.kind, former.value).where(former.load_number > after),
        )
        with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
            for kind, value in found:
                yield Subject(kind, value)

    def reevaluate(
        self, connection: Connection, keyring: HmacKeyring, asked: Sequence[PastAnswer], is_before: IsBefore
    ) -> Sequence[RecallOutcome]:
        """Return the outcome that each past answer would have today.

        CheckNote: YES if the recorded request equals the only one that is answered YES today, else NO. GetNoteParties:
        REFUSED if the note is no longer issued; INDETERMINATE if the note has changed since, because the disclosed
        details are not stored.
        """
        serials = {subject.value for subject, _ in asked}
        notes = {row.serial: row for row in connection.execute(_NOTES, {"serials": list(serials)})}
        return [_outcome(keyring, stored, notes.get(subject.value), is_before) for subject, stored in asked]

    def stated(self, _method: str, declared: Coverage) -> Coverage:
        """Return the whole coverage: it is of notes only."""
        return declared


def _outcome(
    keyring: HmacKeyring, stored: StoredEntry, note: Row[*tuple[Any, ...]] | None, is_before: IsBefore
) -> RecallOutcome:
    disclosed = stored.entry.method == GET_NOTE_PARTIES.name
    if note is None or note.state != State.ISSUED:
        return RecallOutcome.REFUSED if disclosed else RecallOutcome.NO
    if disclosed:
        changed_since = is_before(stored.index, note.load_number)
        return RecallOutcome.INDETERMINATE if changed_since else RecallOutcome.DISCLOSED
    return (
        RecallOutcome.YES
        if stored.keys.question in keyring.hashes_under_all_keys(confirmed_request(CHECK_NOTE.name, note))
        else RecallOutcome.NO
    )
