"""Searches of the ledger: inquiries about a person or about many subjects, catalogue notices.

Index keys are random: with one index over all of them each insert would touch a distant page, more so as the ledger
grows. On PostgreSQL the entries are partitioned, and each partition has its own indexes. On SQLite the index is divided
into segments of 2,048 consecutive entries, so that inserts touch only the newest segment's pages. A look-up probes
every partition or segment.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    any_,
    exists,
    func,
    literal,
    literal_column,
    select,
)

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import key_use
from estelam.ledger.changed_subjects import ChangedSubjects
from estelam.ledger.tables import (
    NOTICES,
    STORED_COLUMNS,
    SUBJECT_COLUMNS,
    StoredEntry,
    annulment_table,
    archive_table,
    checkpoint_table,
    entry_table,
    index_key,
    parsed_notice,
)
from estelam.ledger.verified_rows import VerifiedRows

SEGMENT_ENTRIES = 2048
PROBED_KEYS = 512
"""Up to so many index keys are probed in every segment; for more, one scan of all keys costs less."""
ROWS_AT_ONCE = 2000
KEYS_AT_ONCE = 10_000
_DISORDER_MICROS = 60_000_000
"""Commits are in the order in which workers got the append lock, but have the times at which they looked up."""
_SEGMENT = literal_column(f'entry."index" / {SEGMENT_ENTRIES}', BigInteger)
_entry = entry_table.c
N = TypeVar("N")
_StoredQuery = Select[int, bytes, bytes]
_LONGEST_INQUIRY_MICROS = 86_400_000_000
"""A day, after which no entry of an inquiry is written: its caller's deadline is long over."""
_INDEX = _entry["index"]
_ARCHIVED_END = select(func.coalesce(func.max(archive_table.c.end_index), 0))
_NOT_ANNULLED = ~exists().where(annulment_table.c["index"] == _INDEX)


def committed(connection: Connection, leaves: Mapping[int, bytes]) -> list[int]:
    """Return those indexes of *leaves* at which the ledger has exactly this leaf, if the entry is not annulled."""
    query = select(_INDEX, _entry.leaf).where(_INDEX.in_(leaves), _NOT_ANNULLED)
    return [index for index, leaf in connection.execute(query) if bytes(leaf) == leaves[index]]


def size(connection: Connection) -> int:
    """Return the number of entries, which is the index of the next one."""
    newest: int = connection.execute(select(func.coalesce(func.max(checkpoint_table.c.size), 0))).scalar_one()
    return newest


def entries_about(
    connection: Connection, keyring: HmacKeyring, subject: Subject, archived: Sequence[Connection] = ()
) -> list[StoredEntry]:
    """Return every entry about *subject*, oldest first, in the store and in the files of *archived* entries.

    Raises:
        StoreError: *keyring* lacks a key that the ledger was written with, or holds another one under its id.
    """
    key_use.require_all_keys(connection, keyring)
    hashes = keyring.hashes_under_all_keys(subject)
    keys = {index_key(keyed) for keyed in hashes}
    found = {each.index: each for source in (*archived, connection) for each in _entries_with_keys(source, keys)}
    about = (each for each in found.values() if not set(hashes).isdisjoint(each.keys.subjects))
    return sorted(about, key=lambda each: each.index)


def entries_since(connection: Connection, micros: int) -> Iterator[StoredEntry]:
    """Yield every entry from the instant *micros* (microseconds since 1970) on, oldest first, streamed."""
    if (first := _first_since(connection, micros - _DISORDER_MICROS)) is None:
        return
    yield from (each for each in entries_between(connection, first, None) if each.entry.answered_at_micros >= micros)


def index_of_inquiry(connection: Connection, inquiry_id: UUID, archived: Sequence[Connection] = ()) -> int | None:
    """Return the index of the entry of an inquiry, in the store and in the files of *archived* entries.

    The id (UUID version 7) begins with the time of the inquiry, so that only the entries of a day are read.
    """
    arrived = (inquiry_id.int >> 80) * 1000
    if (first := _first_since(connection, arrived - _DISORDER_MICROS)) is None:
        return None
    for source in (*archived, connection):
        for each in entries_between(source, first, None):
            if each.entry.inquiry_id == inquiry_id.bytes:
                return each.index
            if each.entry.answered_at_micros > arrived + _LONGEST_INQUIRY_MICROS:
                break
    return None


def _first_since(connection: Connection, micros: int) -> int | None:
    """Return the index of the first entry that can be from *micros* or later: the size before that commit, if any."""
    signed_at, size = checkpoint_table.c.signed_at_micros, checkpoint_table.c.size
    since = connection.execute(select(size).where(signed_at >= micros).order_by(signed_at).limit(1)).scalar()
    if since is None:
        return None
    return connection.execute(select(func.coalesce(func.max(size), 0)).where(size < since)).scalar()


def catalogue_notices(
    connection: Connection, rows: VerifiedRows, parse: Callable[[str], N], *, proves_archived: bool = True
) -> list[tuple[StoredEntry, N]]:
    """Return every entry that records a change of the catalogue, compared by *rows*, and what *parse* makes of it.

    They are returned oldest first. Archived entries leave their notices in the store, but the proof of these needs the
    files: without them, let *proves_archived* be false.

    Raises:
        LedgerCorruptError, StoreError: as `VerifiedRows` does; the former also where a notice can't be read.
    """
    found = _stored(connection, entries_with_keys_query(connection, [index_key(NOTICES)]))
    noted = sorted((each for each in found if each.entry.outcome == pb.OUTCOME_NOTED), key=lambda each: each.index)
    proven = 0 if proves_archived else connection.execute(_ARCHIVED_END).scalar_one()
    believed = (*(each for each in noted if each.index < proven), *rows(each for each in noted if each.index >= proven))
    return [(each, parsed_notice(each, lambda stored, _: parse(stored.entry.notice))) for each in believed]


def entries_between(connection: Connection, first: int, end: int | None) -> Iterator[StoredEntry]:
    """Yield the entries from *first* to before *end*, or to the newest, streamed."""
    query = select(*STORED_COLUMNS).where(first <= _INDEX).order_by(_INDEX)
    return _streamed(connection, query if end is None else query.where(end > _INDEX))


def entries_by_subject(connection: Connection, changed: ChangedSubjects, keys: int) -> Iterator[StoredEntry]:
    """Yield every entry whose first subject has one of the *keys* index keys of *changed*, streamed.

    The index keys of all entries are read once, however many subjects there are; up to PROBED_KEYS are searched for.
    """
    if keys <= PROBED_KEYS:
        yield from _streamed(connection, entries_with_keys_query(connection, changed.keys()))
        return
    # SQLite's rows have a key of their own, and its index holds that in place of the entry's.
    place = literal_column("entry.rowid", BigInteger) if connection.dialect.name == "sqlite" else _INDEX
    every = select(place, _entry.subject_1).where(_entry.subject_1.is_not(None))
    with connection.execute(every, execution_options={"yield_per": KEYS_AT_ONCE}) as rows:
        for part in rows.partitions():
            if places := changed.places(part):
                yield from _streamed(connection, select(*STORED_COLUMNS).where(_among(connection, place, places)))


def _streamed(connection: Connection, query: _StoredQuery) -> Iterator[StoredEntry]:
    with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
        for rows in found.partitions():
            yield from starmap(StoredEntry.parse, rows)


def _stored(connection: Connection, query: _StoredQuery) -> Iterator[StoredEntry]:
    return starmap(StoredEntry.parse, connection.execute(query))


def _among(connection: Connection, column: ColumnElement[int], values: list[int]) -> ColumnElement[bool]:
    # Too many for one parameter each: they are passed as one array or JSON text, by engine.
    if connection.dialect.name == "postgresql":
        return column == any_(literal(values, ARRAY(BigInteger)))
    listed: Any = func.json_each(json.dumps(values)).table_valued("value")
    return column.in_(select(listed.c.value))


def entries_with_keys_query(connection: Connection, keys: Collection[int], column: str = "subject_1") -> _StoredQuery:
    """Return the query of the entries that have one of the index *keys* in *column*."""
    found = select(*STORED_COLUMNS)
    if connection.dialect.name == "sqlite":
        segments = _segments()
        found = found.join_from(segments, entry_table, segments.c.number == _SEGMENT)
    return found.where(_entry[column].in_(keys))


def _entries_with_keys(connection: Connection, keys: Collection[int]) -> Iterator[StoredEntry]:
    for name in SUBJECT_COLUMNS:
        yield from _stored(connection, entries_with_keys_query(connection, keys, name))


def _segments() -> CTE:
    """Return the numbers of all segments."""
    last = select(func.coalesce(func.max(_INDEX), 0) // SEGMENT_ENTRIES).scalar_subquery()
    # A cast would give the number an affinity, with which SQLite can't search the index by an expression.
    segment = select(literal_column("0", BigInteger).label("number")).cte("segment", recursive=True)
    return segment.union_all(select(segment.c.number + 1).where(segment.c.number < last))
