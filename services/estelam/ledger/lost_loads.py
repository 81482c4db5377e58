"""Loads that the ledger notes and the facts lack, because facts were restored from a backup or put back.

Such facts are valid in themselves, and their coverage is that of an earlier day. A NO from them may be about a case
that was loaded later: nothing is answered from them until the files that they lack are loaded again. So the facts must
hold each file that the ledger notes of a feed since its last whole file, or a whole file of that feed that was cut
later.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from estelam.core.clock import to_micros
from estelam.ledger.basis import Basis, LoadId
from estelam.ledger.tables import NoteKind, StoredEntry, check_text, parsed_notes
from estelam.storage.facts import load_table
from estelam.storage.statements import Statement

_load = load_table.c
_STORED = Statement(select(_load.feed, _load.feed_number, _load.sha256, _load.whole, _load.cut_at_micros))
_BY_NUMBER = Statement(select(_load.sha256).where(_load.number == bindparam("number")))


class NotedLoad(NamedTuple):
    """A load as the ledger notes it."""

    feed: str
    feed_number: int
    sha256: str
    whole: bool
    cut_at_micros: int
    taken_feed: str | None
    """The feed whose records became records of this one."""

    def is_replaced_by(self, load: Any) -> bool:
        """Return whether the row *load* of facts.load is a later whole file of the same feed."""
        later = (load.cut_at_micros, load.feed_number) > (self.cut_at_micros, self.feed_number)
        return bool(load.whole) and load.feed == self.feed and later


class FactsCheck:
    """Finds the loads that the facts lack. The ledger's notes are read only where the facts may have been put back."""

    def __init__(self) -> None:
        self._state: tuple[LoadId | None, LoadId | None] | None = None
        self._lost: list[NotedLoad] = []

    def lost(self, connection: Connection, basis: Basis) -> list[NotedLoad]:
        """Return the noted loads that the facts lack, in the order of the ledger.

        Raises:
            LedgerCorruptError: the ledger's notes can't be read.
        """
        if (state := (basis.newest_load, basis.noted_load)) != self._state:
            if not self._continues(connection, state):
                self._lost = lost_loads(connection)
            self._state = state
        return self._lost

    def _continues(self, connection: Connection, state: tuple[LoadId | None, LoadId | None]) -> bool:
        """Return whether the facts hold all loads that they held when nothing was lost, and the one noted last."""
        if self._state is None or self._lost:
            return False
        held = [load for load in (self._state[0], state[1]) if load]
        return all([row.sha256 for row in _BY_NUMBER.rows(connection, number=x.number)] == [x.sha256] for x in held)


def lost_loads(connection: Connection) -> list[NotedLoad]:
    """Return the loads that the ledger notes and the facts lack, in the order of the ledger.

    Raises:
        LedgerCorruptError: the ledger's notes can't be read.
    """
    needed: dict[str, dict[NotedLoad, None]] = {}
    ended: set[str] = set()
    for note in parsed_notes(connection, NoteKind.LOAD, iter, _noted_load):
        ended.discard(note.feed)
        if note.whole:
            needed[note.feed] = {}
            if note.taken_feed:
                ended.add(note.taken_feed)
        needed.setdefault(note.feed, {})[note] = None
    stored = _STORED.rows(connection)
    for feed in ended - {load.feed for load in stored}:  # the facts were rebuilt without it
        needed.pop(feed, None)
    held = {(load.feed, load.feed_number, load.sha256) for load in stored}
    return [
        note
        for notes in needed.values()
        for note in notes
        if note[:3] not in held and not any(note.is_replaced_by(load) for load in stored)
    ]


def describe(lost: Iterable[NotedLoad]) -> str:
    """Return what is lost, and what to do, for people."""
    first = {note.feed: note.feed_number for note in reversed(list(lost))}
    files = ", ".join(f"{feed} from number {number}" for feed, number in first.items())
    return (
        f"the facts are older than the loads that the ledger notes: load the missing files again ({files}), or a newer "
        "whole file of the feed"
    )


def _noted_load(_stored: StoredEntry, facts: Any) -> NotedLoad:
    taken = facts.get("taken_feed")
    return NotedLoad(
        check_text(facts["feed"]),
        int(facts["feed_number"]),
        check_text(facts["sha256"]),
        bool(facts["whole"]),
        to_micros(datetime.fromisoformat(facts["cut_at"])),
        check_text(taken) if taken is not None else None,
    )
