"""Verification of a ledger: detects every entry that was changed, removed, added or reordered, and every other row."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, bindparam, not_, or_, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from estelam.core.keys import VerifyingKey
from estelam.core.note_keys import NoteKey
from estelam.ledger.errors import LedgerCorruptError, LostStateError
from estelam.ledger.proofs import StoredNodes
from estelam.ledger.tables import (
    NODE_LEVELS,
    annulment_table,
    checkpoint_table,
    confirmation_table,
    cosignature_table,
    fact_note_table,
    key_use_table,
    node_table,
)
from estelam.ledger.verified_ranges import Place, Range, Snapshot, VerifiedRange
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.tree import Frontier, is_consistent, prove_consistency
from estelam.storage.statements import Statement

RANGE_ENTRIES = 1 << 16
"""Entries that are verified at once, or so many more as end the commit."""
MIN_RANGES = 8
"""From so many ranges on it pays to start processes."""
_STREAMED = {"yield_per": 2000}

VerifyRanges = Callable[[Sequence[Range]], Iterator[VerifiedRange]]
"""Verifies ranges, and yields what each was found to hold in their order (`estelam.ledger.range_processes`)."""


def _as_stored(table: Table, *conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Select rows of *table*, with the driver's own values: none is converted to a column's type."""
    return select(*(type_coerce(each, NullType()).label(each.name) for each in table.columns)).where(*conditions)


def verify_ledger(
    connection: Connection,
    keys: Mapping[str, VerifyingKey],
    start: Frontier | None = None,
    archived: Sequence[Connection] = (),
    witnesses: Sequence[NoteKey] = (),
    in_processes: VerifyRanges | None = None,
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
        in_processes: What verifies the ranges of a long ledger at the same time; None: they are, one by one, here.

    Raises:
        LedgerCorruptError: at the first fault.
        LedgerUncheckedError: at the first commit whose signature can't be checked with *keys*.
    """
    try:
        yield from _verified(connection, keys, start or Frontier(), archived, in_processes)
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


def _verified(
    connection: Connection,
    keys: Mapping[str, VerifyingKey],
    start: Frontier,
    archived: Sequence[Connection],
    in_processes: VerifyRanges | None,
) -> Iterator[Checkpoint]:
    *earlier, last = _ranges(connection, start)
    snapshot = Snapshot(connection, keys, archived, start.size)
    if in_processes is None or len(earlier) < MIN_RANGES:
        in_processes = partial(map, snapshot.verify)
    derived = _Derived(start.size)
    end = Place(start)
    # The last range has no end, so that what comes after the newest checkpoint is found: it is verified in the state
    # of which the tables beside the entries are.
    with closing(_in_order(in_processes, earlier, snapshot, last)) as verified:
        for found in verified:
            if found.start != end:
                raise LedgerCorruptError(f"the checkpoint of {end.tree.size} entries was changed while it was verified")
            end = found.end
            derived.add(found)
            yield from found.commits
    derived.check(connection)


def _in_order(
    verify: VerifyRanges, earlier: Sequence[Range], snapshot: Snapshot, last: Range
) -> Generator[VerifiedRange]:
    yield from verify(earlier)
    yield snapshot.verify(last)


def _ranges(connection: Connection, start: Frontier) -> Iterator[Range]:
    """Yield ranges of at least RANGE_ENTRIES each, and the rest of the ledger.

    What the checkpoints between them claim is only read here. One that no tree can have is left to the range after it.
    """
    place = Place(start)
    while cut := _place_from(connection, place.tree.size + RANGE_ENTRIES):
        yield Range(place, cut.tree.size)
        place = cut
    yield Range(place, None)


def _place_from(connection: Connection, least: int) -> Place | None:
    """Return what the first checkpoint of *least* entries or more claims; None if there is none, or it is damaged."""
    with closing(_CHECKPOINT_FROM.stream(connection, size=least)) as blocks:
        for size, note, frontier in chain.from_iterable(blocks):
            try:
                return Place(Frontier.parse(size, frontier), checkpoint.parse(note).checkpoint.origin)
            except (TypeError, ValueError, AttributeError):
                break
    return None


_commit = checkpoint_table.c
_CHECKPOINT_FROM = Statement(
    select(_commit.size, _commit.note, _commit.frontier)
    .where(_commit.size >= bindparam("size"))
    .order_by(_commit.size)
    .limit(1)
)
_ANNULLED_CONFIRMATION = (
    select(confirmation_table.c["index"])
    .join(annulment_table, annulment_table.c["index"] == confirmation_table.c["index"])
    .limit(1)
)


@dataclass(slots=True)
class _Derived:
    """What the tables beside the entries must hold, collected from the entries from *start* on."""

    start: int
    key_uses: dict[str, tuple[str, int, bytes]] = field(default_factory=dict)
    fact_notes: list[tuple[Any, ...]] = field(default_factory=list)
    annulments: list[tuple[Any, ...]] = field(default_factory=list)
    nodes: list[tuple[int, int, bytes]] = field(default_factory=list)

    def add(self, found: VerifiedRange) -> None:
        """Collect what the tables must hold of the entries of the next range."""
        self.key_uses = found.key_uses | self.key_uses
        self.fact_notes += found.fact_notes
        self.annulments += found.annulments
        self.nodes += found.nodes

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
            (annulment_table, annulment.annulled_by < self.start, self.annulments),
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
