"""Verification of one range of a ledger, from one checkpoint to a later one, on its own.

Ranges are verified one after the other, or by several processes, each in a snapshot of its own. A range begins with the
tree that its first checkpoint claims; that the range before it has led to this very tree is for the caller to compare
(`estelam.ledger.verify`).
"""

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from itertools import chain, islice
from types import NoneType
from typing import Any

from sqlalchemy import BigInteger, Connection, LargeBinary, Table, Text, bindparam, func, select

from estelam.core.keys import VerifyingKey
from estelam.core.settings import MAX_CONFIRMATION_WINDOW
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.confirmations import key_of
from estelam.ledger.errors import LedgerCorruptError, fault_of
from estelam.ledger.tables import (
    NODE_LEVELS,
    SUBJECT_COLUMNS,
    annulment_table,
    archive_table,
    checkpoint_table,
    confirmation_table,
    entry_table,
    index_keys,
    noted_fact,
    parse_entry,
    parse_keys,
)
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt, check_key
from estelam.receipts.tree import Frontier, Growth, leaf_hash
from estelam.storage.statements import Statement

_Row = tuple[Any, ...]
_KeyedEntry = tuple[pb.Entry, pb.SearchKeys]
_WINDOW_MICROS = MAX_CONFIRMATION_WINDOW // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """A state of the ledger at which a range begins or ends: its tree, and the ledger's name if it has entries."""

    tree: Frontier
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """What is verified at once: the commits after *start* up to the one of *end* entries, or all if that is None."""

    start: Place
    end: int | None


@dataclass(slots=True)
class VerifiedRange:
    """What a range was found to hold: its commits, and what the tables beside the entries must hold of them."""

    start: Place
    end: Place
    commits: list[Checkpoint] = field(default_factory=list)
    key_uses: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    fact_notes: list[_Row] = field(default_factory=list)
    annulments: list[_Row] = field(default_factory=list)
    nodes: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add(self, head: Checkpoint, grown: Growth, end: Frontier, entries: Sequence[_KeyedEntry]) -> None:
        """Add a verified commit, after which the tree is *end*."""
        for index, (entry, keys) in enumerate(entries, self.end.tree.size):
            if (key_id := keys.key_id) not in self.key_uses:
                self.key_uses[key_id] = (key_id, index, keys.key_check_value)
            if entry.outcome == pb.OUTCOME_NOTED and (noted := noted_fact(entry, keys)) is not None:
                self.fact_notes.append((index, *noted))
            elif entry.HasField("annuls"):
                self.annulments.append((entry.annuls, index))
        for level in NODE_LEVELS[: (len(grown.levels) - 1) // NODE_LEVELS.step]:
            self.nodes.extend((level, index, node) for index, node in grown.completed(level))
        self.commits.append(head)
        self.end = Place(end, head.origin)


class Snapshot:
    """One state of a ledger, of which ranges are verified.

    Args:
        connection: A connection to the ledger's store, in a transaction.
        keys: The signing keys, present and past, by their ids.
        archived: Connections to the files of archived entries, oldest first.
        start: The number of entries before the first range.
    """

    def __init__(
        self, connection: Connection, keys: Mapping[str, VerifyingKey], archived: Sequence[Connection], start: int
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._archived = archived
        self._archived_end = connection.execute(select(func.max(archive_table.c.end_index))).scalar() or 0
        kept = _entries.before(connection, self._archived_end) if archived else ()
        self._kept = {row[0]: row for row in kept}
        self._annulled = {index for index, *_ in connection.execute(select(annulment_table.c["index"]))}
        self._required = _required_times(connection, start)

    def verify(self, part: Range) -> VerifiedRange:
        """Verify a range.

        Raises:
            LedgerCorruptError: at its first fault.
            LedgerUncheckedError: at the first commit whose signature can't be checked with the keys.
        """
        found, first = VerifiedRange(part.start, part.start), part.start.tree.size
        with ExitStack() as stack:
            entries = _after(stack.enter_context(closing(self._entries(first))), first - 1)
            commits = _after(stack.enter_context(closing(_checkpoints.since(self._connection, first))), first or -1)
            confirmed = stack.enter_context(closing(_confirmations.since(self._connection, first)))
            confirmations = _Confirmations(chain.from_iterable(confirmed), self._annulled, self._required)
            for row in commits:
                self._add_commit(found, row, entries, confirmations)
                if part.end is not None and found.end.tree.size >= part.end:
                    break
            if part.end is None and next(entries, None) is not None:
                raise LedgerCorruptError(
                    f"entry {found.end.tree.size}: it and all entries after it belong to no commit"
                )
            confirmations.check_end(part.end)
        return found

    def _add_commit(
        self, found: VerifiedRange, row: _Row, rows: Iterator[_Row], confirmations: "_Confirmations"
    ) -> None:
        tree, origin = found.end.tree, found.end.origin
        where = f"the commit after entry {tree.size}"
        try:
            head, key = _signed_checkpoint(row, tree.size, self._keys)
            stored = list(islice(rows, head.size - tree.size))
            entries = verified_entries(stored, tree.size) if stored else []
            grown = _grown(tree, head, [each[1] for each in stored])
            end = grown.frontier
            _check_rest(row, end, entries, key)
            if origin not in (None, head.origin):
                raise LedgerCorruptError(f"it is of another ledger, {head.origin}")
            confirmations.check(tree.size, entries)
            found.add(head, grown, end, entries)
        except InvalidReceipt as error:
            raise fault_of(error, where) from None
        except LedgerCorruptError as error:
            raise LedgerCorruptError(f"{where}: {error}") from None
        except (TypeError, ValueError, KeyError, OverflowError, RecursionError):
            raise LedgerCorruptError(f"{where}: a value is corrupt") from None

    def _entries(self, first: int) -> Generator[list[_Row]]:
        """Yield the entries from the one before *first* on, if there is one: archived ones, then those in the store.

        Raises:
            LedgerCorruptError: one of the notes that the store has kept of archived entries is another.
        """
        for source in self._archived:
            with closing(_entries.since(source, max(first - 1, 0))) as blocks:
                for block in blocks:
                    for row in block if self._kept else ():
                        if self._kept.get(row[0], row) != row:
                            raise LedgerCorruptError(f"entry {row[0]} is another than in its file of archived entries")
                    yield block
        with closing(_entries.since(self._connection, max(first - 1, self._archived_end))) as blocks:
            yield from blocks


class _Stored:
    """The rows of a table in the order of its first column, its key."""

    def __init__(self, table: Table) -> None:
        key = table.columns[0]
        every = select(table).order_by(key)
        self._every = Statement(every)
        self._since = Statement(every.where(key >= bindparam("first")))
        self._before = Statement(every.where(key < bindparam("end")))

    def since(self, connection: Connection, first: int) -> Generator[list[_Row]]:
        """Yield the rows from *first* on; from 0 on all, without a condition, so that each is found whatever it is."""
        return self._since.stream(connection, first=first) if first > 0 else self._every.stream(connection)

    def before(self, connection: Connection, end: int) -> Iterator[_Row]:
        """Yield the rows before *end*."""
        with closing(self._before.stream(connection, end=end)) as blocks:
            yield from chain.from_iterable(blocks)


_entries, _checkpoints, _confirmations = map(_Stored, (entry_table, checkpoint_table, confirmation_table))


def _after(blocks: Iterator[list[_Row]], last: int) -> Iterator[_Row]:
    """Yield the rows after the one whose key is *last*, which was the last one of the range before; -1: there is none.

    It is read again so that no row between this range and the one before is overlooked, such as another of its key.
    """
    rows = chain.from_iterable(blocks)
    for row in islice(rows, last >= 0):
        if row[0] != last:
            yield row
    yield from rows


def _required_times(connection: Connection, start: int) -> list[tuple[int, int]]:
    """Return pairs in ascending order: from which time on a YES below a size must have its confirmation.

    A commit deletes those that have expired at its time. So the greatest time of all commits from that of the YES on
    counts, also where a clock was ahead for a while.
    """
    latest, found = 0, []
    with closing(_COMMIT_TIMES.stream(connection, start=start)) as blocks:
        for size, micros in chain.from_iterable(blocks):
            if isinstance(size, int) and isinstance(micros, int) and micros > latest:
                latest = micros
                found.append((size, micros - _WINDOW_MICROS))
    return found[::-1]


_size, _signed_at = checkpoint_table.c.size, checkpoint_table.c.signed_at_micros
_COMMIT_TIMES = Statement(select(_size, _signed_at).where(_size > bindparam("start")).order_by(_size.desc()))


class _Confirmations:
    """Compares the table of confirmations with the entries, both in order.

    An entry that is a YES and not annulled has its row; one that is older than any window may have had it deleted.
    """

    def __init__(self, rows: Iterator[_Row], annulled: set[int], required: Sequence[tuple[int, int]]) -> None:
        self._rows = rows
        self._annulled = annulled
        self._required = deque(required)
        self._row = next(rows, None)

    def check(self, first: int, entries: Sequence[_KeyedEntry]) -> None:
        """Check the rows of a commit, whose *entries* have one time.

        Raises:
            LedgerCorruptError: one is missing or another one, or belongs to no YES.
        """
        expected = {
            index: pair
            for index, pair in enumerate(entries, first)
            if pair[0].outcome == pb.OUTCOME_YES and index not in self._annulled
        }
        while (row := self._row) is not None and _is_below(row[0], first + len(entries)):
            index, key, micros = row
            pair = expected.pop(index, None)
            # Types are compared too: SQLite can store a value of any type.
            if not (pair and type(index) is type(micros) is int and micros == pair[0].answered_at_micros):
                raise _unmatched(index)
            if key != key_of(pair[0].caller, pair[1].question):
                raise _unmatched(index)
            self._row = next(self._rows, None)
        if expected and entries[0][0].answered_at_micros >= self._required_since(first):
            raise _unmatched(min(expected))

    def _required_since(self, index: int) -> int:
        while self._required and self._required[0][0] <= index:
            self._required.popleft()
        return self._required[0][1] if self._required else 0

    def check_end(self, end: int | None) -> None:
        """Check that no row before *end* is left.

        Raises:
            LedgerCorruptError: one belongs to no entry.
        """
        if self._row is not None and (end is None or _is_below(self._row[0], end)):
            raise LedgerCorruptError("a row of the table confirmation belongs to no entry")


def _is_below(key: Any, end: int) -> bool:
    # In the order of SQLite null comes before, and a text or bytes after all numbers.
    return key is None or (isinstance(key, int | float) and key < end)


def _unmatched(index: Any) -> LedgerCorruptError:
    return LedgerCorruptError(f"the confirmation of entry {index} does not match it")


_TYPES: Mapping[type[Any], type] = {BigInteger: int, Text: str, LargeBinary: bytes}
_CHECKPOINT_TYPES = [_TYPES[type(column.type)] for column in checkpoint_table.columns]


def _signed_checkpoint(row: _Row, before: int, keys: Mapping[str, VerifyingKey]) -> tuple[Checkpoint, VerifyingKey]:
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


def _grown(tree: Frontier, head: Checkpoint, leaves: Sequence[bytes]) -> Growth:
    """Return the tree after *leaves*, which must have the root that *head* states."""
    hashes = [leaf_hash(leaf) for leaf in leaves]
    if tree.size + len(hashes) != head.size or (grown := tree.append(hashes)).root != head.root:
        raise LedgerCorruptError(f"its entries, from {tree.size} to {head.size - 1}, do not match its signed root")
    return grown


def _check_rest(row: _Row, tree: Frontier, entries: Sequence[_KeyedEntry], key: VerifyingKey) -> None:
    _, _, frontier, signed_at_micros = row
    # All entries of a commit have its time: where they have two, a checkpoint between them is gone.
    if frontier != tree.serialize() or {entry.answered_at_micros for entry, _ in entries} != {signed_at_micros}:
        raise LedgerCorruptError("the columns of its checkpoint do not match its entries")
    # The order of commits proves a commit's time: a key that was compromised later could not put it before others.
    check_key(key, signed_at_micros, is_time_proven=True)


def verified_entries(rows: Sequence[Sequence[Any]], first: int) -> list[_KeyedEntry]:
    """Return the entries in *rows*, from index *first* on, with their search keys; their other columns match these.

    Each check is made of all of them at once. Where one fails, they are checked one by one, to name the first.

    Raises:
        LedgerCorruptError: one can't be read, is missing, or does not match.
    """
    indexes, leaves, search_keys, *stored_keys = zip(*rows, strict=True)
    try:
        _check_types(indexes, leaves, search_keys, *stored_keys)
        if indexes != tuple(range(first, first + len(rows))):
            raise LedgerCorruptError("an entry is missing or out of order")
        entries, keys = list(map(parse_entry, indexes, leaves)), list(map(parse_keys, indexes, search_keys))
        if [sha256(each).digest() for each in search_keys] != [entry.keys_commitment for entry in entries]:
            raise LedgerCorruptError(f"the search keys of entry {first} are not those that it commits to")
        if list(map(index_keys, keys)) != list(zip(*stored_keys, strict=True)):
            raise LedgerCorruptError(f"the index keys of entry {first} do not match its search keys")
    except LedgerCorruptError:
        if len(rows) == 1:
            raise
        return [pair for index, row in enumerate(rows, first) for pair in verified_entries([row], index)]
    return list(zip(entries, keys, strict=True))


def _check_types(*columns: Sequence[Any]) -> None:
    # SQLite stores a value of any type in any column, such as 1.0 where 1 belongs, and they are equal.
    for column, kinds in zip(columns, _ENTRY_TYPES, strict=True):
        if not kinds.issuperset(map(type, column)):
            raise LedgerCorruptError("a value does not have its column's type")


_NUMBER: frozenset[type] = frozenset({int})
_BYTES: frozenset[type] = frozenset({bytes})
_ENTRY_TYPES = [_NUMBER, _BYTES, _BYTES, *[_NUMBER | {NoneType}] * len(SUBJECT_COLUMNS)]
