"""What the ledger is searched for: a caller's own yes of late, every inquiry about a person or many subjects, notices.

Keyed hashes are random: one index over all marks would touch a far page for each, ever more as the ledger grows. They
are indexed by shelf, a run of consecutive entries, so that writing stays on the few pages of the newest shelf.
"""

import json
from collections.abc import Collection, Iterable, Iterator, KeysView
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    any_,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.writer import NOTICES, SUBJECT_COLUMNS, block_table, confirmation_key, entry_table, index_key

SEGMENT_ENTRIES = 2048
PROBED_KEYS = 512
"""So many marks are looked for on every shelf; for more, one pass over all marks costs less."""
ROWS_AT_ONCE = 2000
_SEGMENT = literal_column(f"entry.sequence / {SEGMENT_ENTRIES}", BigInteger)
_entry = entry_table.c


def recent_confirmations(
    connection: Connection, *, method: str, asked: Collection[tuple[str, bytes]], since_micros: int, until_micros: int
) -> set[tuple[str, bytes]]:
    """Those of *asked* (caller, first subject's keyed hash) that *method* answered YES from *since* to *until*."""
    first = _first_since(connection, since_micros)
    if first is None:
        return set()
    marks = {confirmation_key(method, caller, keyed): (caller, keyed) for caller, keyed in asked}

    def confirmed(sealed: Iterable[bytes]) -> set[tuple[str, bytes]]:
        found = map(pb.Entry.FromString, sealed)
        return {
            (entry.caller, entry.subjects[0])
            for entry in found
            if entry.method == method
            and entry.outcome == pb.OUTCOME_YES
            and since_micros <= entry.answered_at_micros <= until_micros
        } & set(asked)

    # However often a caller has asked, the newest yes is enough, unless it was given while the clock was ahead.
    newest = connection.execute(_newest_opened(marks, first)).scalars().all()
    found = confirmed(connection.execute(select(_entry.sealed).where(_entry.sequence.in_(newest))).scalars())
    if len(found) < len(newest):
        others = [mark for mark, key in marks.items() if key not in found]
        found |= confirmed(connection.execute(_in_every_segment(others, "opened", first=first)).scalars())
    return found


def _newest_opened(marks: Collection[int], first: int) -> Select[int]:
    shelves = _segments(first)
    on_shelf = select(func.max(_entry.sequence)).join_from(shelves, entry_table, shelves.c.number == _SEGMENT)
    return on_shelf.where(_entry.opened.in_(marks)).group_by(_entry.opened)


def entries_about(connection: Connection, keyring: HmacKeyring, subject: Subject) -> list[pb.Entry]:
    """Every entry about *subject*, oldest first, under any key of the ring."""
    hashes = keyring.hashes_under_all_keys(subject)
    found = {entry.sequence: entry for entry in _entries_with_keys(connection, {index_key(keyed) for keyed in hashes})}
    about = (entry for entry in found.values() if not set(hashes).isdisjoint(entry.subjects))
    return sorted(about, key=lambda entry: entry.sequence)


def entries_since(connection: Connection, micros: int) -> Iterator[pb.Entry]:
    """Every entry from the instant *micros* on, oldest first, streamed."""
    if (first := _first_since(connection, micros)) is None:
        return
    query = select(_entry.sealed).where(_entry.sequence >= first).order_by(_entry.sequence)
    with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
        for rows in found.scalars().partitions():
            yield from (entry for entry in map(pb.Entry.FromString, rows) if entry.answered_at_micros >= micros)


def _first_since(connection: Connection, micros: int) -> int | None:
    """The first entry of the first block that was sealed at *micros* or later, if there is one."""
    sealed_at = block_table.c.sealed_at_micros
    query = select(block_table.c.first_sequence).where(sealed_at >= micros).order_by(sealed_at).limit(1)
    return connection.execute(query).scalar()


def catalogue_notices(connection: Connection) -> list[pb.Entry]:
    """Every entry that notes a change of the catalogue, oldest first."""
    found = map(pb.Entry.FromString, connection.execute(_in_every_segment([index_key(NOTICES)])).scalars())
    return sorted((entry for entry in found if entry.outcome == pb.OUTCOME_NOTED), key=lambda entry: entry.sequence)


def entries_by_subject(connection: Connection, hashes: KeysView[bytes]) -> Iterator[pb.Entry]:
    """Every entry whose first subject has one of the keyed *hashes*, streamed."""
    marks = sorted({index_key(keyed) for keyed in hashes})
    query = _in_every_segment(marks) if len(marks) <= PROBED_KEYS else _in_one_pass(connection, marks)
    with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as found:
        for rows in found.scalars().partitions():
            entries = map(pb.Entry.FromString, rows)
            yield from (entry for entry in entries if entry.subjects[0] in hashes)


def _in_every_segment(marks: Collection[int], column: str = "subject_1", *, first: int = 1) -> Select[bytes]:
    shelves = _segments(first)
    on_shelf = select(_entry.sealed).join_from(shelves, entry_table, shelves.c.number == _SEGMENT)
    return on_shelf.where(_entry[column].in_(marks))


def _in_one_pass(connection: Connection, marks: Collection[int]) -> Select[bytes]:
    # Too many for parameters of their own: they go as one, as each engine takes a set.
    sought: ColumnElement[bool]
    if connection.dialect.name == "postgresql":
        sought = _entry.subject_1 == any_(literal(marks, ARRAY(BigInteger)))
    else:
        listed: Any = func.json_each(json.dumps(marks)).table_valued("value")
        sought = _entry.subject_1.in_(select(listed.c.value))
    return select(_entry.sealed).where(sought)


def hmac_key_ids(connection: Connection) -> set[str]:
    """The ids of the keys that entries were written under, as the first entry of every shelf and the newest tell."""
    shelves = _segments(1)
    firsts = select(_entry.sealed).join_from(
        shelves, entry_table, _entry.sequence == shelves.c.number * SEGMENT_ENTRIES + 1
    )
    newest = select(_entry.sealed).order_by(_entry.sequence.desc()).limit(1)
    entries = (
        pb.Entry.FromString(sealed) for query in (firsts, newest) for sealed in connection.execute(query).scalars()
    )
    return {entry.subject_key_id for entry in entries}


def _entries_with_keys(connection: Connection, marks: Collection[int]) -> Iterator[pb.Entry]:
    for name in SUBJECT_COLUMNS:
        yield from map(pb.Entry.FromString, connection.execute(_in_every_segment(marks, name)).scalars())


def _segments(first: int) -> CTE:
    """The numbers of all shelves from that of entry *first* to the newest."""
    last = select(func.coalesce(func.max(_entry.sequence), 0) // SEGMENT_ENTRIES).scalar_subquery()
    shelf = select(cast(literal(first // SEGMENT_ENTRIES), BigInteger).label("number")).cte("shelf", recursive=True)
    return shelf.union_all(select(shelf.c.number + 1).where(shelf.c.number < last))
