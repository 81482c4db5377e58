"""Verification of a ledger: detects every entry that was changed, removed, added or reordered, and every other row."""

import struct
from collections import deque
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain, islice
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from estelam.core.keys import VerifyingKey
from estelam.core.note_keys import NoteKey
from estelam.core.settings import MAX_CONFIRMATION_WINDOW
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.confirmations import key_of
from estelam.ledger.errors import LedgerCorruptError, LostStateError, fault_of
from estelam.ledger.proofs import StoredNodes
from estelam.ledger.tables import (
    NODE_LEVELS,
    SUBJECT_COLUMNS,
    StoredEntry,
    annulment_table,
    archive_table,
    checkpoint_table,
    confirmation_table,
    cosignature_table,
    entry_table,
    fact_note_table,
    key_use_table,
    keys_commitment,
    node_table,
    noted_fact,
)
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt, check_key
from estelam.receipts.tree import Frontier, Growth, is_consistent, leaf_hash, prove_consistency

ROWS_AT_ONCE = 2000
_STREAMED = {"yield_per": ROWS_AT_ONCE}


def _as_stored(table: Table, *conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select rows of *table* in key order, with the driver's own values: none is converted to a column's type."""
    columns = [type_coerce(each, NullType()).label(each.name) for each in table.columns]
    return select(*columns).where(*conditions).order_by(*table.primary_key)


_Values = Row[*tuple[Any, ...]]
_TYPES: Mapping[type[Any], type] = {BigInteger: int, Text: str, LargeBinary: bytes}
_CHECKPOINT_TYPES = [_TYPES[type(column.type)] for column in checkpoint_table.columns]


def verify_ledger(
    connection: Connection,
    keys: Mapping[str, VerifyingKey],
    start: Frontier | None = None,
    archived: Sequence[Connection] = (),
    witnesses: Sequence[NoteKey] = (),
) -> Iterator[Checkpoint]:
    """Verify the ledger from *start* on, by default all of it; yield the checkpoint of each commit.

    Any entry that was changed, removed, added or reordered is detected, and any row beside the entries. To detect that
    the end was removed, or that all was signed anew, compare with checkpoints kept elsewhere (`verify_heads`).

    Args:
        connection: A connection to the ledger's store.
        keys: The signing keys, present and past, by their ids.
        start: The tree at a checkpoint that was verified earlier (`tree_at`).
        archived: Connections to the files of archived entries, oldest first; all, unless *start* is after them.
        witnesses: The keys of witnesses. Cosignatures of others are not verified, only their form is.

    Raises:
        LedgerCorruptError: at the first fault.
        LedgerUncheckedError: at the first commit whose signature can't be checked with *keys*.
    """
    try:
        yield from _verified(connection, keys, start or Frontier(), archived)
        _check_cosignatures(connection, start.size if start else 0, witnesses)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise LedgerCorruptError("a value can't be read from the store") from None


def tree_at(connection: Connection, size: int, root: bytes) -> Frontier:
    """Return the tree of *size* entries, which had *root* when it was verified earlier.

    Raises:
        LedgerCorruptError: the ledger has no commit that ended there, or its tree had another root.
    """
    stored = connection.execute(select(checkpoint_table.c.frontier).where(checkpoint_table.c.size == size)).scalar()
    try:
        tree = Frontier() if size == 0 else Frontier.parse(size, stored or b"")
    except (TypeError, ValueError):
        tree = None
    if tree is None or tree.root != root:
        raise LostStateError(f"head {size}:{root.hex()} is no checkpoint of this ledger; {_REWRITTEN}", size)
    return tree


_REWRITTEN = "if it is exactly as it was kept, entries up to there were removed or rewritten"


def verify_heads(
    connection: Connection, last: Checkpoint, heads: Iterable[tuple[int, bytes]], archived: Sequence[Connection] = ()
) -> None:
    """Check that each of *heads*, sizes and roots kept elsewhere, is a state that the ledger up to *last* went through.

    Raises:
        LedgerCorruptError: one is not.
    """
    nodes = StoredNodes(connection, archived)
    for size, root in heads:
        head = f"head {size}:{root.hex()}"
        if size > last.size:
            raise LostStateError(
                f"{head} is beyond its end; if it is exactly as it was kept, entries were removed", size
            )
        proof = prove_consistency(size, last.size, nodes)
        if not is_consistent(size, root, last.size, last.root, proof):
            raise LostStateError(f"{head} is no earlier state of this ledger; {_REWRITTEN}", size)


# What is read in advance is verified at the end, or with the last checkpoint.
_ANNULLED = select(annulment_table.c["index"])
_ANNULLED_CONFIRMATION = (
    select(confirmation_table.c["index"])
    .join(annulment_table, annulment_table.c["index"] == confirmation_table.c["index"])
    .limit(1)
)
_NEWEST_AFTER = (
    select(checkpoint_table.c.size, checkpoint_table.c.signed_at_micros)
    .where(checkpoint_table.c.size > bindparam("size"))
    .order_by(checkpoint_table.c.signed_at_micros.desc(), checkpoint_table.c.size.desc())
    .limit(1)
)


def _required_times(connection: Connection, start: int) -> Iterator[tuple[int, int]]:
    """Yield pairs in ascending order: from which time on a YES below a size must have its confirmation.

    A commit deletes those that have expired at its time. So the greatest time of all commits from that of the YES on
    counts, also where a clock was ahead for a while.
    """
    size = start
    while row := connection.execute(_NEWEST_AFTER, {"size": size}).first():
        size, micros = row
        yield size, (micros if isinstance(micros, int) else 0) - MAX_CONFIRMATION_WINDOW // timedelta(microseconds=1)


class _Confirmations:
    """Compares the table of confirmations with the entries, both in order.

    An entry that is a YES and not annulled has its row; one that is older than any window may have had it deleted.
    """

    def __init__(self, rows: Iterator[_Values], annulled: Collection[int], required: Sequence[tuple[int, int]]) -> None:
        self._rows = rows
        self._annulled = annulled
        self._required = deque(required)
        self._row = next(rows, None)

    def check(self, stored: StoredEntry) -> None:
        """Check the row of the entry.

        Raises:
            LedgerCorruptError: it is missing or another one, or the entry should have none.
        """
        entry, row = stored.entry, self._row
        is_confirmed = entry.outcome == pb.OUTCOME_YES and stored.index not in self._annulled
        if row is not None and row[0] == stored.index:
            self._row = next(self._rows, None)
            index, key, micros = row
            # Types are compared too: SQLite can store a value of any type.
            is_right = is_confirmed and type(index) is type(micros) is int and micros == entry.answered_at_micros
            is_right = is_right and key == key_of(entry.caller, stored.keys.question)
        else:
            is_right = not is_confirmed or entry.answered_at_micros < self._required_since(stored.index)
        if not is_right:
            raise LedgerCorruptError(f"the confirmation of entry {stored.index} does not match it")

    def _required_since(self, index: int) -> int:
        while self._required and self._required[0][0] <= index:
            self._required.popleft()
        return self._required[0][1] if self._required else 0

    def check_end(self) -> None:
        """Check that no row is left.

        Raises:
            LedgerCorruptError: one belongs to no entry.
        """
        if self._row is not None:
            raise LedgerCorruptError("a row of the table confirmation belongs to no entry")


def _verified(
    connection: Connection, keys: Mapping[str, VerifyingKey], start: Frontier, archived: Sequence[Connection]
) -> Iterator[Checkpoint]:
    streamed = connection.execution_options(**_STREAMED)
    # Without a start there is no condition, so that a row is found whatever it holds.
    end = connection.execute(select(func.max(archive_table.c.end_index))).scalar() or 0
    entries_after = [entry_table.c["index"] >= max(start.size, end)] if start.size or end else []
    checkpoints_after = [checkpoint_table.c.size > start.size] if start.size else []
    confirmations_after = [confirmation_table.c["index"] >= start.size] if start.size else []
    stored_entries = _as_stored(entry_table, *entries_after)
    stored_checkpoints = _as_stored(checkpoint_table, *checkpoints_after)
    required = list(_required_times(connection, start.size))
    annulled = {index for index, *_ in connection.execute(_ANNULLED)}
    with (
        streamed.execute(stored_entries) as entries,
        streamed.execute(stored_checkpoints) as checkpoints,
        streamed.execute(_as_stored(confirmation_table, *confirmations_after)) as confirmations,
        closing(_archived_rows(connection, archived, start.size)) as files,
    ):
        derived = _Derived(
            start.size, _Confirmations(chain.from_iterable(confirmations.partitions()), annulled, required)
        )
        rows = chain(files, chain.from_iterable(entries.partitions()))
        yield from _checkpoints(rows, checkpoints, keys, start, derived)
        derived.confirmations.check_end()
    derived.check(connection)


def _archived_rows(connection: Connection, archived: Sequence[Connection], start: int) -> Generator[_Values]:
    """Yield the archived entries from *start* on.

    Raises:
        LedgerCorruptError: one of the notes that the store has kept of them is another.
    """
    kept_below = connection.execute(select(func.max(archive_table.c.end_index))).scalar() or 0
    kept = connection.execute(_as_stored(entry_table, entry_table.c["index"] < kept_below)) if archived else ()
    notes = {row[0]: tuple(row) for row in kept}
    for source in archived:
        stored = _as_stored(entry_table, entry_table.c["index"] >= start)
        with source.execute(stored, execution_options=_STREAMED) as rows:
            for row in chain.from_iterable(rows.partitions()):
                if row[0] in notes and notes[row[0]] != tuple(row):
                    raise LedgerCorruptError(f"entry {row[0]} is another than in its file of archived entries")
                yield row


@dataclass(slots=True)
class _Derived:
    """What the tables beside the entries must hold, collected from the entries from *start* on."""

    start: int
    confirmations: _Confirmations
    key_uses: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    fact_notes: list[tuple[Any, ...]] = field(default_factory=list)
    annulments: dict[int, int] = field(default_factory=dict)
    nodes: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add(self, stored: StoredEntry) -> None:
        """Check the entry's confirmation, and collect what the other tables must hold of it."""
        self.confirmations.check(stored)
        if (key_id := stored.keys.key_id) not in self.key_uses:
            self.key_uses[key_id] = (key_id, stored.index, stored.keys.key_check_value)
        entry = stored.entry
        if entry.outcome == pb.OUTCOME_NOTED and (noted := noted_fact(entry, stored.keys)) is not None:
            self.fact_notes.append((stored.index, *noted))
        elif entry.HasField("annuls"):
            self.annulments[entry.annuls] = stored.index

    def add_nodes(self, tree: Growth) -> None:
        """Collect the nodes that a commit completed."""
        for level in NODE_LEVELS:
            if level < len(tree.levels):
                self.nodes.extend((level, index, node) for index, node in tree.completed(level))

    def check(self, connection: Connection) -> None:
        """Compare the tables with what was collected.

        Raises:
            LedgerCorruptError: a table differs.
        """
        use, note, annulment, node = key_use_table.c, fact_note_table.c, annulment_table.c, node_table.c
        used_before = connection.execute(select(use.key_id).where(use.first_index < self.start)).scalars().all()
        first_uses = [first for key_id, first in self.key_uses.items() if key_id not in used_before]
        tables: tuple[tuple[Table, ColumnElement[bool], Iterable[tuple[Any, ...]]], ...] = (
            (key_use_table, use.first_index < self.start, first_uses),
            (fact_note_table, note["index"] < self.start, self.fact_notes),
            (annulment_table, annulment.annulled_by < self.start, self.annulments.items()),
            (node_table, or_(*(_is_below(node, level, self.start) for level in NODE_LEVELS)), self.nodes),
        )
        if connection.execute(_ANNULLED_CONFIRMATION).first() is not None:
            raise LedgerCorruptError("the table confirmation holds an annulled entry")
        for table, is_earlier, expected in tables:
            conditions = [not_(is_earlier)] if self.start else []
            rows = connection.execute(_as_stored(table, *conditions))
            if sorted(repr(tuple(row)) for row in rows) != sorted(map(repr, expected)):
                raise LedgerCorruptError(f"the table {table.name} does not match the entries")


def _check_cosignatures(connection: Connection, start: int, witnesses: Sequence[NoteKey]) -> None:
    columns: list[Any] = [type_coerce(each, NullType()) for each in (*cosignature_table.c, checkpoint_table.c.note)]
    size = cosignature_table.c.size
    query = select(*columns).outerjoin_from(cosignature_table, checkpoint_table, checkpoint_table.c.size == size)
    with connection.execute(query.where(size >= start) if start else query, execution_options=_STREAMED) as rows:
        for found, witness, line, note, *_ in rows:
            try:
                cosignature.check_line(note, witness, line, witnesses)
            except (InvalidReceipt, TypeError, ValueError):
                raise LedgerCorruptError(
                    f"a row of the table cosignature, of size {found}, is no cosignature of a checkpoint of this ledger"
                ) from None


def _is_below(node: Any, level: int, start: int) -> ColumnElement[bool]:
    return and_(node.level == level, node["index"] < start >> level)


def _checkpoints(
    entries: Iterator[_Values],
    checkpoints: Iterable[_Values],
    keys: Mapping[str, VerifyingKey],
    tree: Frontier,
    derived: _Derived,
) -> Iterator[Checkpoint]:
    origin = None
    for row in checkpoints:
        try:
            head, key = _signed_checkpoint(row, tree.size, keys)
            part = islice(entries, head.size - tree.size)
            stored = [verified_entry(entry, index) for index, entry in enumerate(part, start=tree.size)]
            grown = _grown(tree, head, stored)
            after = grown.frontier
            _check_rest(row, after, stored, key)
        except InvalidReceipt as error:
            raise fault_of(error, f"the commit after entry {tree.size}") from None
        except LedgerCorruptError as error:
            raise LedgerCorruptError(f"the commit after entry {tree.size}: {error}") from None
        except (TypeError, ValueError, KeyError, struct.error, DecodeError):
            raise LedgerCorruptError(f"the commit after entry {tree.size}: a value is corrupt") from None
        if origin not in (None, head.origin):
            raise LedgerCorruptError(f"the commit after entry {tree.size}: it is of another ledger, {head.origin}")
        for each in stored:
            derived.add(each)
        derived.add_nodes(grown)
        tree, origin = after, head.origin
        yield head
    if next(entries, None) is not None:
        raise LedgerCorruptError(f"entry {tree.size}: it and all entries after it belong to no commit")


def _signed_checkpoint(row: _Values, before: int, keys: Mapping[str, VerifyingKey]) -> tuple[Checkpoint, VerifyingKey]:
    # SQLite stores a value of any type in any column.
    if [type(value) for value in row] != _CHECKPOINT_TYPES:
        raise LedgerCorruptError("a value does not have its column's type")
    size, note, *_ = row
    head, key_id = checkpoint.verify(note, keys)
    if note.count("\n") != checkpoint.LINES:
        raise LedgerCorruptError("its note has another line than the signature of the ledger's key")
    if not before < head.size == size:
        raise LedgerCorruptError("a checkpoint before it is missing or out of order")
    return head, keys[key_id]


def _grown(tree: Frontier, head: Checkpoint, stored: list[StoredEntry]) -> Growth:
    """Return the tree after *stored*, whose leaves must give the root that *head* states."""
    leaves = [leaf_hash(each.leaf) for each in stored]
    if tree.size + len(leaves) != head.size or (grown := tree.append(leaves)).root != head.root:
        raise LedgerCorruptError(f"its entries, from {tree.size} to {head.size - 1}, do not match its signed root")
    return grown


def _check_rest(row: _Values, tree: Frontier, stored: list[StoredEntry], key: VerifyingKey) -> None:
    _, _, frontier, signed_at_micros = row
    # All entries of a commit have its time: where they have two, a checkpoint between them is gone.
    if frontier != tree.serialize() or {each.entry.answered_at_micros for each in stored} != {signed_at_micros}:
        raise LedgerCorruptError("the columns of its checkpoint do not match its entries")
    # The order of commits proves a commit's time: a key that was compromised later could not put it before others.
    check_key(key, signed_at_micros, is_time_proven=True)


def verified_entry(row: _Values, index: int) -> StoredEntry:
    """Return the entry in *row*, after a check that all other columns match its bytes."""
    stored_index, leaf, search_keys, *stored_keys = row
    if type(stored_index) is not int or type(leaf) is not bytes or type(search_keys) is not bytes:
        raise LedgerCorruptError("a value does not have its column's type")
    if stored_index != index:
        raise LedgerCorruptError("an entry is missing or out of order")
    stored = StoredEntry.parse(index, leaf, search_keys)
    if keys_commitment(search_keys) != stored.entry.keys_commitment:
        raise LedgerCorruptError(f"the search keys of entry {index} are not those that it commits to")
    # As bytes, which no value of another type has: SQLite can store 1.0 where 1 belongs.
    subjects = stored.keys.subjects[: len(SUBJECT_COLUMNS)]
    count = len(subjects)
    try:
        packed = _INDEX_KEYS[count].pack(*stored_keys[:count])
    except struct.error:
        packed = b""
    if packed != b"".join([keyed[:8] for keyed in subjects]) or stored_keys[count:] != _NO_KEYS[count:]:
        raise LedgerCorruptError(f"the index keys of entry {index} do not match its search keys")
    return stored


_INDEX_KEYS = [struct.Struct(f">{count}q") for count in range(len(SUBJECT_COLUMNS) + 1)]
_NO_KEYS = [None] * len(SUBJECT_COLUMNS)
