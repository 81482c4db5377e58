"""Archived entries: closed partitions of a ledger on PostgreSQL, each in a file (SQLite) with its checkpoints.

The table `archive` says which entries are archived. What needs them is given the folder of the files, and
refuses if one is missing: what a search did not read, it does not report as absent. Notes of loads and of the catalogue
stay in the store too, since the service reads them.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Self

from sqlalchemy import ColumnElement, Connection, StaticPool, Table, create_engine, func, insert, select, text

from estelam.core.files import create_private_file, create_private_folder, sync_folder
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import partitions
from estelam.ledger.confirmations import CLOCKS_DIFFER_MICROS, KEPT_MICROS
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.proofs import StoredNodes
from estelam.ledger.search import SEGMENT_ENTRIES
from estelam.ledger.tables import SUBJECT_COLUMNS, archive_table, checkpoint_table, entry_table
from estelam.ledger.verified_ranges import verified_entries
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.tree import leaf_hash, node_hash, subtree_root
from estelam.storage.base import LEDGER, StoreError

MIN_AGE_MICROS = KEPT_MICROS
"""How old entries must be to be archived."""
_STREAMED = {"yield_per": 2000}
_archive, _entry = archive_table.c, entry_table.c
_RANGES = select(_archive.first_index, _archive.end_index).order_by(_archive.first_index)


class Archives:
    """The archived entries of a ledger from index *start* on, read from the files in *folder*.

    Raises:
        StoreError: there are such entries, and no folder is given, or it lacks a file.
    """

    def __init__(self, connection: Connection, service: str, folder: Path | None, start: int = 0) -> None:
        self._open = contextlib.ExitStack()
        self.connections: list[Connection] = []
        """A connection to each file, oldest first: the queries of the ledger's entries read it."""
        for first, end in connection.execute(_RANGES.where(_archive.end_index > start)).all():
            which = f"the entries {first:,} to {end - 1:,} of the ledger of {service}"
            if folder is None:
                raise StoreError(f"{which} are archived; give the folder of their files with --archive")
            path = file_of(folder, service, first)
            if not path.is_file():
                raise StoreError(f"{path}: the file with {which} is missing; nothing was done")
            opened = self._open.enter_context(_opened(path, "ro"))
            bounds = opened.execute(select(func.min(_entry["index"]), func.max(_entry["index"]), func.count())).one()
            if bounds != (first, end - 1, end - first):
                raise StoreError(f"{path}: does not hold {which}; nothing was done")
            self.connections.append(opened)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


def file_of(folder: Path, service: str, first: int) -> Path:
    """Return the file of the archived entries from *first* on."""
    return folder / f"{service}-{first:012}.ledger"


class Stop(Enum):
    """Why no further partition is archived."""

    BEFORE = "it ends after the given index"
    OPEN = "the ledger has not filled it yet"
    AGE = "it has an entry of the last 25 hours, which may confirm an inquiry; run the command again later"


def next_range(connection: Connection, before: int, micros: int) -> tuple[int, int, Stop | None]:
    """Return the range of the oldest partition in the store, and why it may not be archived; None: it may.

    It must end at index *before* or earlier, be closed, and have no entry that is younger at *micros* (Unix time in
    microseconds) than a confirmation is kept: the service reads the entries of confirmations.
    """
    size = connection.execute(select(func.coalesce(func.max(checkpoint_table.c.size), 0))).scalar_one()
    first = connection.execute(select(func.coalesce(func.max(_archive.end_index), 0))).scalar_one()
    end = first + partitions.ENTRIES
    if end > before or end > size:
        return first, end, Stop.BEFORE if end > before else Stop.OPEN
    commit, signed_at = checkpoint_table.c.size, checkpoint_table.c.signed_at_micros
    last = select(func.min(commit)).where(commit >= end).scalar_subquery()
    is_young = signed_at.between(micros - MIN_AGE_MICROS, micros + CLOCKS_DIFFER_MICROS)
    young = select(commit).where(commit > first, commit <= last, is_young).limit(1)
    return first, end, Stop.AGE if connection.execute(young).first() else None


def write(connection: Connection, service: str, folder: Path, entries: tuple[int, int], last: Checkpoint) -> list[int]:
    """Write the partition of *entries* with its checkpoints to its file; return the indexes of the notes among them.

    The file is verified as it is read back: each entry against its columns, and all of them up to the root of *last*.

    Raises:
        LedgerCorruptError: the entries do not lead to the root of *last*, the newest checkpoint, which is verified.
        OSError: the file can't be written.
    """
    first, end = entries
    path = file_of(folder, service, first)
    draft = path.with_name(f".{path.name}.new")
    create_private_folder(folder)
    draft.unlink(missing_ok=True)
    create_private_file(draft)
    with _opened(draft, "rw") as copy:
        _create(copy)
        _copy(connection, copy, entry_table, _entry["index"] >= first, _entry["index"] < end)
        size = checkpoint_table.c.size
        _copy(connection, copy, checkpoint_table, size > first, size <= end)
        copy.commit()
    hashes: list[bytes] = []
    notes: list[int] = []
    with _opened(draft, "ro") as copy:
        rows = copy.execute(select(entry_table).order_by(_entry["index"]), execution_options=_STREAMED)
        for part in rows.partitions():
            begin = first + len(hashes)
            verified = enumerate(verified_entries(part, begin), begin)
            notes += [index for index, (entry, _) in verified if entry.outcome == pb.OUTCOME_NOTED]
            hashes += [leaf_hash(row.leaf) for row in part]
    if len(hashes) != end - first or subtree_root(0, last.size, _NodesOfCopy(connection, first, hashes)) != last.root:
        raise LedgerCorruptError(
            f"the entries {first:,} to {end - 1:,} do not lead to the root of the newest checkpoint"
        )
    with draft.open("rb+") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(folder)
    return notes


def _copy(connection: Connection, copy: Connection, table: Table, *conditions: ColumnElement[bool]) -> None:
    rows = select(table).where(*conditions)
    with connection.execute(rows, execution_options=_STREAMED) as found:
        for part in found.mappings().partitions():
            copy.execute(insert(table), [dict(row) for row in part])


def detach(connection: Connection, entries: tuple[int, int], notes: Sequence[int], micros: int) -> None:
    """Remove the partition of *entries* from the store, but for the *notes*, and store that it is archived.

    Call it in a transaction that holds the append lock, after `write`.
    """
    first, end = entries
    name = f"entry_{first // partitions.ENTRIES:06}"
    for statement in (
        f"ALTER TABLE ledger.entry DETACH PARTITION ledger.{name}",
        f"ALTER TABLE ledger.{name} RENAME TO archived",
        f"CREATE TABLE ledger.{name} (LIKE ledger.entry INCLUDING ALL)",
    ):
        connection.execute(text(statement))
    connection.execute(
        text(f'INSERT INTO ledger.{name} SELECT * FROM ledger.archived WHERE "index" = ANY(:notes)'),  # noqa: S608
        {"notes": list(notes)},
    )
    connection.execute(text("DROP TABLE ledger.archived"))
    connection.execute(
        text(f"ALTER TABLE ledger.entry ATTACH PARTITION ledger.{name} FOR VALUES FROM ({first}) TO ({end})")
    )
    connection.execute(insert(archive_table).values(first_index=first, end_index=end, archived_at_micros=micros))


class _NodesOfCopy:
    """The complete nodes of a tree, where those over a copied partition are computed from its hashes."""

    def __init__(self, connection: Connection, first: int, hashes: list[bytes]) -> None:
        self._stored = StoredNodes(connection)
        self._first, self._end = first, first + len(hashes)
        self._levels = [hashes]
        while len(row := self._levels[-1]) > 1:
            self._levels.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)])

    def __call__(self, level: int, index: int) -> bytes:
        first, end = index << level, (index + 1) << level
        if end <= self._first or first >= self._end:
            return self._stored(level, index)
        if first >= self._first and end <= self._end:
            return self._levels[level][index - (self._first >> level)]
        return node_hash(self(level - 1, 2 * index), self(level - 1, 2 * index + 1))


def _create(copy: Connection) -> None:
    for table in (entry_table, checkpoint_table):
        table.create(copy)
    for column in SUBJECT_COLUMNS:
        copy.execute(text(f'CREATE INDEX {LEDGER}.entry_{column} ON entry ("index" / {SEGMENT_ENTRIES}, {column})'))


@contextlib.contextmanager
def _opened(path: Path, mode: str) -> Iterator[Connection]:
    """Open a file of archived entries under the schema of the ledger, so that the ledger's queries read it."""

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(":memory:", uri=True)
        opened.execute(f"ATTACH ? AS {LEDGER}", (f"{path.resolve().as_uri()}?mode={mode}",))
        return opened

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
