"""What the ledger is searched for: a caller's own yes of late, and every inquiry about one person.

Keyed hashes are random: one index over all marks would touch a far page for each, ever more as the ledger grows. They
are indexed by shelf, a run of consecutive entries, so that writing stays on the few pages of the newest shelf.
"""

from collections.abc import Collection, Iterator

from sqlalchemy import CTE, BigInteger, Connection, cast, func, literal, literal_column, select

from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.keys import Keyring
from estelam.ledger import SUBJECT_COLUMNS, block_table, entry_table, mark
from estelam.vocabulary import Subject

SHELF_ENTRIES = 2048
_SHELF = literal_column(f"entry.sequence / {SHELF_ENTRIES}", BigInteger)
_entry = entry_table.c


def recently_confirmed(
    connection: Connection, *, method: str, asked: Collection[tuple[str, bytes]], since_micros: int
) -> set[tuple[str, bytes]]:
    """Those of *asked* (caller, first subject's keyed hash) that *method* answered YES at or after *since_micros*."""
    first = connection.execute(
        select(block_table.c.first_sequence)
        .where(block_table.c.sealed_at_micros >= since_micros)
        .order_by(block_table.c.sealed_at_micros)
        .limit(1)
    ).scalar()
    if first is None:
        return set()
    shelves = _shelves(first)
    query = (
        select(_entry.sealed)
        .join_from(shelves, entry_table, shelves.c.number == _SHELF)
        .where(_entry.subject_1.in_({mark(subject) for _, subject in asked}))
    )
    found = map(pb.Entry.FromString, connection.execute(query).scalars())
    return {
        (entry.caller, entry.subjects[0])
        for entry in found
        if entry.method == method and entry.outcome == pb.OUTCOME_YES and entry.answered_at_micros >= since_micros
    } & set(asked)


def who_asked(connection: Connection, keyring: Keyring, subject: Subject) -> list[pb.Entry]:
    """Every entry about *subject*, oldest first, under any key of the ring."""
    hashes = keyring.all_hashes(subject)
    found = {entry.sequence: entry for entry in _marked(connection, {mark(keyed) for keyed in hashes})}
    about = (entry for entry in found.values() if not set(hashes).isdisjoint(entry.subjects))
    return sorted(about, key=lambda entry: entry.sequence)


def _marked(connection: Connection, marks: Collection[int]) -> Iterator[pb.Entry]:
    shelves = _shelves(1)
    for name in SUBJECT_COLUMNS:
        query = (
            select(_entry.sealed)
            .join_from(shelves, entry_table, shelves.c.number == _SHELF)
            .where(_entry[name].in_(marks))
        )
        yield from map(pb.Entry.FromString, connection.execute(query).scalars())


def _shelves(first: int) -> CTE:
    """The numbers of all shelves from that of entry *first* to the newest."""
    last = select(func.coalesce(func.max(_entry.sequence), 0) // SHELF_ENTRIES).scalar_subquery()
    shelf = select(cast(literal(first // SHELF_ENTRIES), BigInteger).label("number")).cte("shelf", recursive=True)
    return shelf.union_all(select(shelf.c.number + 1).where(shelf.c.number < last))
