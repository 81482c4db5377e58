"""Confirmations: the questions to which a caller lately got YES, as GetNoteParties requires (R2.2).

The table has one row for each YES of the last hours, written with the entry. GetNoteParties looks for one such row:
what that costs depends neither on the length of the ledger nor on how often the caller has asked. A row is deleted when
its entry is annulled and, a few in each commit, when it has expired. A caller's older YES counts while a newer one is
from a clock that was ahead.

A row proves nothing: anyone who can write to the store could add one. It counts only if its entry states the same and
is not annulled, and the checkpoint that was signed with that entry is of a tree that contains it. That suffices: the
service itself gave the answer, to this caller, at that time. Under the newest checkpoint the proof would also show that
the ledger still has the entry, which is what verification and witnesses are for, and read some hundred rows for each.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from itertools import takewhile
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, delete, exists, func, select

from estelam.core.settings import MAX_CONFIRMATION_WINDOW
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import (
    STORED_COLUMNS,
    StoredEntry,
    annulment_table,
    checkpoint_table,
    confirmation_table,
    entry_table,
    keys_commitment,
)
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import END_OF_TIME, InvalidReceipt
from estelam.receipts.tree import Frontier, leaf_hash
from estelam.storage.statements import Statement, each

log = structlog.get_logger()

Asked = tuple[str, bytes]
"""A caller, and the keyed hash of a whole question."""

CLOCKS_DIFFER_MICROS = 3_600_000_000
"""By how much the clocks of several hosts may differ; a confirmation of a later time is of one that was ahead."""
KEPT_MICROS = MAX_CONFIRMATION_WINDOW // timedelta(microseconds=1) + CLOCKS_DIFFER_MICROS
"""How long a confirmation is stored."""
_KEY_DIGITS = 32
KEPT_COMMITS = 64

_columns = confirmation_table.c
_keys = each("keys")
_RECENT = Statement(
    select(
        _keys.c.value,
        select(_columns["index"])
        .where(
            _columns.key == _keys.c.value,
            _columns.confirmed_at_micros.between(bindparam("since"), bindparam("until")),
        )
        .order_by(_columns.confirmed_at_micros.desc())
        .limit(1)
        .scalar_subquery()
        .label("index"),
    )
)
_size, _entries = checkpoint_table.c.size, entry_table.c
# A row that names an annulled entry may have been inserted again.
_ENTRY = Statement(
    select(*STORED_COLUMNS).where(
        _entries["index"] == bindparam("index"), ~exists().where(annulment_table.c["index"] == _entries["index"])
    )
)
_BEGIN = select(func.coalesce(func.max(_size), 0)).where(_size <= bindparam("index")).scalar_subquery()
# The checkpoint before an entry, if any, and the one that was signed with it.
_CHECKPOINTS = Statement(
    select(_size, checkpoint_table.c.note, checkpoint_table.c.frontier).where(_size >= _BEGIN).order_by(_size).limit(2)
)
_LEAVES = Statement(
    select(_entries.leaf)
    .where(_entries["index"] >= bindparam("begin"), _entries["index"] < bindparam("end"))
    .order_by(_entries["index"])
)
_OLDEST = Statement(
    select(_columns["index"], _columns.confirmed_at_micros)
    .where(_columns["index"] >= bindparam("first"))
    .order_by(_columns["index"])
    .limit(bindparam("count"))
)
_DELETE = Statement(
    delete(confirmation_table).where(
        _columns["index"].between(bindparam("first"), bindparam("last")),
        _columns.confirmed_at_micros < bindparam("before"),
    )
)


def key_of(caller: str, question: bytes) -> str:
    """Return the key of *caller* and *question*, a keyed hash of method and request: 128 bits, hexadecimal."""
    return hashlib.sha256(f"{caller}\0".encode() + question).hexdigest()[:_KEY_DIGITS]


class ProvenCommits:
    """The commits whose entries have been proven to be under the checkpoints that were signed with them.

    Confirmed are the entries of the last seconds, so few commits are kept.

    Args:
        verify: Returns the checkpoint in a signed note of the ledger, or raises InvalidReceipt.
    """

    def __init__(self, verify: Callable[[str], Checkpoint]) -> None:
        self._verify = verify
        self._hashes: dict[tuple[int, str], list[bytes]] = {}
        """The entries' hashes by the first index and the note of their commit."""

    def contain(self, connection: Connection, index: int, leaf: bytes, checkpoints: Sequence[Any]) -> bool:
        """Whether *leaf* is the entry *index* of the commit that the second of *checkpoints* (rows) was signed with.

        Raises:
            InvalidReceipt: that one has no valid signature.
            ValueError: there are no such checkpoints, or a frontier is malformed.
            TypeError: a column is of another type.
        """
        before = next((one for one in checkpoints if one.size <= index), None)
        after = next((one for one in checkpoints if one.size > index), None)
        if after is None:
            raise ValueError("no checkpoint was signed with the entry")
        begin = before.size if before else 0
        commit = begin, after.note
        if commit not in self._hashes:
            hashes = [leaf_hash(row.leaf) for row in _LEAVES.rows(connection, begin=begin, end=after.size)]
            grown = (Frontier.parse(begin, before.frontier) if before else Frontier()).append(hashes)
            head = self._verify(after.note)
            if (grown.size, grown.root) != (head.size, head.root):
                return False
            if len(self._hashes) >= KEPT_COMMITS:
                self._hashes.clear()
            self._hashes[commit] = hashes
        return self._hashes[commit][index - begin] == leaf_hash(leaf)


def recent(
    connection: Connection,
    asked: Collection[Asked],
    commits: ProvenCommits,
    *,
    since_micros: int,
    until_micros: int,
) -> tuple[set[Asked], set[Asked]]:
    """Return which of *asked* were answered YES within the window, whose bounds are inclusive.

    Beside them are those of which that can't be known, because an entry or a checkpoint can't be read.
    """
    keys = {key_of(*pair): pair for pair in asked}
    found = _RECENT.rows(connection, keys=list(keys), since=since_micros, until=until_micros) if keys else ()
    indexes = {keys[row.value]: row.index for row in found if row.index is not None}
    reading = {
        pair: (_ENTRY.start(connection, index=index), _CHECKPOINTS.start(connection, index=index))
        for pair, index in indexes.items()
    }
    confirmed, unreadable = set(), set()
    for pair, (read_entry, read_checkpoints) in reading.items():
        entries, checkpoints = read_entry(), read_checkpoints()
        try:
            if (
                entries
                and _is_yes(entries[0], pair, since_micros, until_micros)
                and commits.contain(connection, indexes[pair], entries[0].leaf, checkpoints)
            ):
                confirmed.add(pair)
                continue
        except (LedgerCorruptError, InvalidReceipt, ValueError, TypeError):
            unreadable.add(pair)
        log.error("confirmation.unproven", index=indexes[pair])
    return confirmed, unreadable


def _is_yes(row: Any, asked: Asked, since_micros: int, until_micros: int) -> bool:
    """Whether the entry in *row* states that *asked* was answered YES within the window."""
    stored, (caller, question) = StoredEntry.parse(*row), asked
    entry = stored.entry
    return (
        (entry.caller, entry.outcome, stored.keys.question) == (caller, pb.OUTCOME_YES, question)
        and entry.keys_commitment == keys_commitment(row.search_keys)
        and since_micros <= entry.answered_at_micros <= until_micros
    )


def start_deletion(connection: Connection, first: int, last: int, before_micros: int = END_OF_TIME) -> None:
    """Delete the confirmations of the entries from *first* to *last* whose time is before *before_micros*."""
    _DELETE.start(connection, first=first, last=last, before=before_micros)


class Expiry:
    """Finds expired confirmations, a few at a time, oldest first.

    Those of a clock that was ahead are passed over, so that they do not hold up what comes after them.
    """

    def __init__(self) -> None:
        # Bounds from the last search, which hold whether or not what it found was deleted; and its time.
        self._first = 0
        self._next_micros = 0
        self._micros = 0

    def start(self, connection: Connection, micros: int, count: int) -> Callable[[], tuple[int, int, int] | None]:
        """Search the *count* oldest confirmations for those that have expired at *micros*, if there may be any.

        The function that is returned gives the first and the last of their indexes, and the time before which they are.
        """
        limit, latest = micros - KEPT_MICROS, micros + CLOCKS_DIFFER_MICROS
        if latest < self._micros:  # this clock was ahead
            self._first = self._next_micros = 0
        self._micros = micros
        if limit < self._next_micros:
            return lambda: None
        read = _OLDEST.start(connection, first=self._first, count=count)

        def expired() -> tuple[int, int, int] | None:
            oldest = read()
            timely = [row for row in oldest if row.confirmed_at_micros <= latest]
            if oldest:
                self._first = timely[0].index if timely else oldest[-1].index + 1
            found = [row.index for row in takewhile(lambda row: row.confirmed_at_micros < limit, timely)]
            if not found:
                # What comes after the last row is at most as much older than now as clocks differ.
                after_last = 0 if oldest else micros - CLOCKS_DIFFER_MICROS
                self._next_micros = timely[0].confirmed_at_micros if timely else after_last
                return None
            return found[0], found[-1], limit

        return expired
