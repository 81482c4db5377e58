"""Tables of the quality store, with the functions that write and read them. The columns are those of `records`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from estelam.storage.base import FACTS
from quality.attribution import Attribution
from quality.records import Freshness, MetricsSample, ObservedHead, PlannedOutage, Probe

ROWS_PER_FETCH = 2000
IDS_PER_STATEMENT = 500

_TABLES = MetaData(schema=FACTS)
_probe = Table(
    "probe",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("method", Text, primary_key=True),
    Column("consumer", Text, primary_key=True),
    Column("fault", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
_outage = Table(
    "outage",
    _TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("service", Text, nullable=False),
    Column("announced_minute", BigInteger, nullable=False),
    Column("first_minute", BigInteger, nullable=False),
    Column("end_minute", BigInteger, nullable=False),
    Column("reason_fa", Text, nullable=False),
    Column("reason_en", Text, nullable=False),
    Column("announced_end_minute", BigInteger),
)
_freshness = Table(
    "freshness",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("service", Text, primary_key=True),
    Column("age_minutes", BigInteger, nullable=False),
    Column("covered_since", Date),
)
_head = Table(
    "head",
    _TABLES,
    Column("service", Text, primary_key=True),
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", LargeBinary, primary_key=True),
    Column("minute", BigInteger, nullable=False),
)
_own_inquiry = Table(
    "own_inquiry",
    _TABLES,
    Column("id", LargeBinary, primary_key=True),
    Column("minute", BigInteger, nullable=False),
)
_metrics_sample = Table(
    "reading",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("service", Text, primary_key=True),
    Column("health", Text, nullable=False),
    Column("serving", Boolean),
    Column("answered", BigInteger),
    Column("refused", BigInteger),
    Column("unrecorded", BigInteger),
)


def save_probes(connection: Connection, probes: Iterable[Probe]) -> None:
    """Store *probes*; a later one replaces an earlier one of the same key."""
    rows = [
        {"minute": p.minute, "method": p.method, "consumer": p.consumer, "fault": p.fault or "", "reason": p.reason}
        for p in probes
    ]
    upsert(connection, _probe, rows)


def save_freshness(connection: Connection, records: Iterable[Freshness]) -> None:
    """Store the age of services' data."""
    upsert(connection, _freshness, [_row_of(_freshness, one) for one in records])


def save_heads(connection: Connection, heads: Iterable[ObservedHead]) -> None:
    """Store the *heads* of ledgers."""
    upsert(connection, _head, [_row_of(_head, head) for head in heads])


def save_metrics_samples(connection: Connection, samples: Iterable[MetricsSample]) -> None:
    """Store *samples*."""
    upsert(connection, _metrics_sample, [_row_of(_metrics_sample, one) for one in samples])


def save_own_inquiries(connection: Connection, ids: Iterable[tuple[bytes, int]]) -> None:
    """Store the ids of inquiries that probes made, each with its minute."""
    upsert(connection, _own_inquiry, [{"id": one, "minute": minute} for one, minute in ids])


def own_inquiries(connection: Connection, ids: Sequence[bytes]) -> frozenset[bytes]:
    """Return those of *ids* that probes made."""
    found: set[bytes] = set()
    for first in range(0, len(ids), IDS_PER_STATEMENT):
        some = _own_inquiry.c.id.in_(ids[first : first + IDS_PER_STATEMENT])
        rows = connection.execute(select(_own_inquiry.c.id).where(some))
        found.update(bytes(one) for one in rows.scalars())
    return frozenset(found)


def delete_own_inquiries(connection: Connection, end: int) -> None:
    """Delete the ids of inquiries that probes made before minute *end*."""
    connection.execute(delete(_own_inquiry).where(_own_inquiry.c.minute < end))


def insert_outage(connection: Connection, outage: PlannedOutage) -> int:
    """Store an announcement and return its number."""
    number = (connection.execute(select(func.max(_outage.c.number))).scalar() or 0) + 1
    connection.execute(insert(_outage), _row_of(_outage, outage) | {"number": number})
    return number


def probes(connection: Connection, first: int, end: int) -> Iterator[Probe]:
    """Stream the probes from minute *first* to before *end*, ordered by minute and method."""
    for row in stream(connection, _probe, first, end):
        yield Probe(row.minute, row.method, row.consumer, Attribution(row.fault) if row.fault else None, row.reason)


def newest_probe(connection: Connection, first: int, end: int) -> int | None:
    """The last minute from *first* to before *end* that has a probe; None if there is none."""
    within = select(func.max(_probe.c.minute)).where(_probe.c.minute >= first, _probe.c.minute < end)
    found: int | None = connection.execute(within).scalar()
    return found


def freshness(connection: Connection, first: int, end: int) -> Iterator[Freshness]:
    """Stream the age of services' data from minute *first* to before *end*."""
    for row in stream(connection, _freshness, first, end):
        yield Freshness(row.minute, row.service, row.age_minutes, row.covered_since)


def end_outage(connection: Connection, number: int, end: int) -> None:
    """Set the end of outage *number* to minute *end* (exclusive), keeping the announced end."""
    earlier = {"announced_end_minute": _outage.c.end_minute, "end_minute": end}
    connection.execute(update(_outage).where(_outage.c.number == number).values(earlier))


def all_outages(connection: Connection) -> list[PlannedOutage]:
    """All announced outages, including withdrawn ones, ordered by number."""
    return [_planned_outage(row) for row in connection.execute(select(_outage).order_by(_outage.c.number))]


def metrics_samples(connection: Connection, first: int, end: int) -> Iterator[MetricsSample]:
    """Stream the metrics samples from minute *first* to before *end*."""
    for row in stream(connection, _metrics_sample, first, end):
        yield MetricsSample(*row)


def outages_between(connection: Connection, first: int, end: int) -> list[PlannedOutage]:
    """The announced outages that overlap minutes *first* to before *end*; withdrawn ones are left out."""
    overlaps = and_(_outage.c.first_minute < end, _outage.c.end_minute > first)
    not_withdrawn = _outage.c.first_minute < _outage.c.end_minute
    rows = connection.execute(
        select(_outage).where(overlaps, not_withdrawn).order_by(_outage.c.first_minute, _outage.c.number)
    )
    return [_planned_outage(row) for row in rows]


def _planned_outage(row: Any) -> PlannedOutage:
    return PlannedOutage(**{name: getattr(row, name) for name in _column_names(_outage)})


def last_heads(connection: Connection, end: int) -> dict[str, ObservedHead]:
    """The newest head of each service that was observed before minute *end*; after a restore it may be smaller."""
    columns = _head.c
    newest = select(columns.service, func.max(columns.minute).label("minute")).where(columns.minute < end)
    last = newest.group_by(columns.service).subquery()
    found = select(_head).join(last, and_(columns.service == last.c.service, columns.minute == last.c.minute))
    rows = connection.execute(found.order_by(columns.size))  # of one minute, the largest
    return {row.service: ObservedHead(row.minute, row.service, row.size, row.root) for row in rows}


def stream(connection: Connection, table: Table, first: int, end: int) -> Iterator[Any]:
    """Stream the rows of *table* from minute *first* to before *end*, ordered by their keys."""
    within = select(table).where(table.c.minute >= first, table.c.minute < end).order_by(*table.primary_key)
    with connection.execute(within, execution_options={"yield_per": ROWS_PER_FETCH}) as rows:
        yield from rows


def upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Store *rows* in *table*, in place of those with the same keys."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    upsert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    others = {name: upsert.excluded[name] for name in _column_names(table) if name not in keys}
    if others:
        connection.execute(upsert.on_conflict_do_update(index_elements=keys, set_=others), rows)
    else:
        connection.execute(upsert.on_conflict_do_nothing(index_elements=keys), rows)


def _row_of(table: Table, record: object) -> dict[str, Any]:
    """The columns of *table* that *record* has as attributes."""
    return {name: getattr(record, name) for name in _column_names(table) if hasattr(record, name)}


def _column_names(table: Table) -> list[str]:
    return [column.name for column in table.columns]
