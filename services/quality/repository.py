"""What was seen: tables, and how they are written and read. Every row can be added to another of its key.

`minute` counts minutes since 1970 in UTC, `method` is package.Service/Method, `service` the part before the slash, and
`consumer` the legal id of who asked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
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
from quality import histogram
from quality.attribution import Fault

SCRIPTS = "quality:migrations"
ROWS_AT_ONCE = 2000
IDS_AT_ONCE = 500

_TABLES = MetaData(schema=FACTS)
_COUNTS: dict[Fault | None, str] = {
    None: "answered",
    Fault.PROVIDER: "provider",
    Fault.EXCHANGE: "exchange",
    Fault.CONSUMER: "consumer_fault",
    Fault.UNGRANTED: "ungranted",
    Fault.THROTTLED: "throttled",
}

_observation = Table(
    "observation",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("method", Text, primary_key=True),
    Column("consumer", Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS.values()),
    Column("latencies", LargeBinary, nullable=False),
)
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
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("minute", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("entries", BigInteger, nullable=False),
)
_own = Table(
    "own_inquiry",
    _TABLES,
    Column("id", LargeBinary, primary_key=True),
    Column("minute", BigInteger, nullable=False),
)
_reading = Table(
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


@dataclass(slots=True)
class Tally:
    """What became of inquiries, and how long their answers took: two tallies can be added."""

    counts: Counter[Fault | None] = field(default_factory=Counter)
    """By fault; None counts the answered."""
    latencies: Counter[int] = field(default_factory=Counter)
    """Answered inquiries by the bucket of their latency."""

    def add(self, other: "Tally") -> None:
        """Count what *other* counts too."""
        self.counts.update(other.counts)
        self.latencies.update(other.latencies)

    @property
    def total(self) -> int:
        """All inquiries."""
        return self.counts.total()


@dataclass(frozen=True, slots=True)
class Observation:
    """What became of one consumer's inquiries by one method in one minute."""

    minute: int
    method: str
    consumer: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Probe:
    """What an inquiry from outside met; no fault means that an answer came."""

    minute: int
    method: str
    consumer: str
    fault: Fault | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Announced:
    """An outage that a provider announced; *end_minute* is the first minute after it.

    One that was withdrawn before it began ends where it was to begin: it has no minute.
    """

    service: str
    announced_minute: int
    first_minute: int
    end_minute: int
    reason_fa: str
    reason_en: str
    announced_end_minute: int | None = None
    """The end that was announced, where it was ended or withdrawn before that."""
    number: int = 0
    """What its provider calls it by; given when it is kept."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a service's data was, and since when it is complete."""

    minute: int
    service: str
    age_minutes: int
    covered_since: date | None


@dataclass(frozen=True, slots=True)
class SeenHead:
    """The end of a service's ledger, as it was seen."""

    minute: int
    service: str
    number: int
    hash: bytes
    entries: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a service said of itself: over grpc.health.v1, and in its figures, which count from its start on."""

    minute: int
    service: str
    health: str = ""
    """SERVING or NOT_SERVING; empty where no probe heard either."""
    serving: bool | None = None
    """None, as each figure, where the figures could not be read."""
    answered: int | None = None
    refused: int | None = None
    unrecorded: int | None = None
    """Refusals that are in no ledger, for want of budget."""


def record(connection: Connection, observations: Iterable[Observation]) -> None:
    """Add *observations* to what was seen of their minutes before."""
    for seen in observations:
        key = and_(
            _observation.c.minute == seen.minute,
            _observation.c.method == seen.method,
            _observation.c.consumer == seen.consumer,
        )
        row = connection.execute(select(_observation).where(key)).first()
        if row is None:
            columns = {"minute": seen.minute, "method": seen.method, "consumer": seen.consumer}
            connection.execute(insert(_observation), columns | _columns(seen.tally))
        else:
            whole = _tally(row)
            whole.add(seen.tally)
            connection.execute(update(_observation).where(key), _columns(whole))


def fill(connection: Connection, observations: Iterable[Observation]) -> None:
    """Write *observations* of which none was seen before, many at once."""
    rows = [
        {"minute": seen.minute, "method": seen.method, "consumer": seen.consumer} | _columns(seen.tally)
        for seen in observations
    ]
    if rows:
        connection.execute(insert(_observation), rows)


def probed(connection: Connection, probes: Iterable[Probe]) -> None:
    """Keep *probes*; of one key the last counts."""
    rows = [
        {"minute": p.minute, "method": p.method, "consumer": p.consumer, "fault": p.fault or "", "reason": p.reason}
        for p in probes
    ]
    _replace(connection, _probe, rows)


def aged(connection: Connection, seen: Iterable[Freshness]) -> None:
    """Keep how old data was."""
    _replace(connection, _freshness, [_row_of(_freshness, one) for one in seen])


def headed(connection: Connection, heads: Iterable[SeenHead]) -> None:
    """Keep the *heads* of ledgers."""
    _replace(connection, _head, [_row_of(_head, head) for head in heads])


def read_off(connection: Connection, readings: Iterable[Reading]) -> None:
    """Keep *readings*."""
    _replace(connection, _reading, [_row_of(_reading, one) for one in readings])


def own(connection: Connection, ids: Iterable[tuple[bytes, int]]) -> None:
    """Keep the ids of inquiries that probes made, each with its minute, until `met` in a ledger."""
    _replace(connection, _own, [{"id": one, "minute": minute} for one, minute in ids])


def met(connection: Connection, ids: Sequence[bytes]) -> frozenset[bytes]:
    """Those of *ids* that probes made; each is met once, and forgotten."""
    found: set[bytes] = set()
    for first in range(0, len(ids), IDS_AT_ONCE):
        some = _own.c.id.in_(ids[first : first + IDS_AT_ONCE])
        rows = connection.execute(delete(_own).where(some).returning(_own.c.id))
        found.update(bytes(one) for one in rows.scalars())
    return frozenset(found)


def forget_own(connection: Connection, end: int) -> None:
    """Forget the ids that no ledger holds of inquiries made before minute *end*."""
    connection.execute(delete(_own).where(_own.c.minute < end))


def announce(connection: Connection, outage: Announced) -> int:
    """Keep an announcement; its number."""
    number = (connection.execute(select(func.max(_outage.c.number))).scalar() or 0) + 1
    connection.execute(insert(_outage), _row_of(_outage, outage) | {"number": number})
    return number


def observations(connection: Connection, first: int, end: int) -> Iterator[Observation]:
    """All observations from minute *first* to before *end*, streamed in the order of time and method."""
    for row in _streamed(connection, _observation, first, end):
        yield Observation(row.minute, row.method, row.consumer, _tally(row))


def probes(connection: Connection, first: int, end: int) -> Iterator[Probe]:
    """All probes from minute *first* to before *end*, streamed in the order of time and method."""
    for row in _streamed(connection, _probe, first, end):
        yield Probe(row.minute, row.method, row.consumer, Fault(row.fault) if row.fault else None, row.reason)


def newest_probe(connection: Connection, first: int, end: int) -> int | None:
    """The last minute from *first* to before *end* of which there is a probe."""
    within = select(func.max(_probe.c.minute)).where(_probe.c.minute >= first, _probe.c.minute < end)
    found: int | None = connection.execute(within).scalar()
    return found


def freshness(connection: Connection, first: int, end: int) -> Iterator[Freshness]:
    """How old data was from minute *first* to before *end*."""
    for row in _streamed(connection, _freshness, first, end):
        yield Freshness(row.minute, row.service, row.age_minutes, row.covered_since)


def end_early(connection: Connection, number: int, end: int) -> None:
    """Let the announced outage *number* end before minute *end*, and keep the end that was announced."""
    earlier = {"announced_end_minute": _outage.c.end_minute, "end_minute": end}
    connection.execute(update(_outage).where(_outage.c.number == number).values(earlier))


def announcements(connection: Connection) -> list[Announced]:
    """Every outage that was ever announced, withdrawn ones among them, in the order of their numbers."""
    return [_announced(row) for row in connection.execute(select(_outage).order_by(_outage.c.number))]


def readings(connection: Connection, first: int, end: int) -> Iterator[Reading]:
    """What services said of themselves from minute *first* to before *end*."""
    for row in _streamed(connection, _reading, first, end):
        yield Reading(*row)


def announced(connection: Connection, first: int, end: int) -> list[Announced]:
    """The announced outages that lie, in part at least, from minute *first* to before *end*."""
    meets = and_(_outage.c.first_minute < end, _outage.c.end_minute > first)
    lasts = _outage.c.first_minute < _outage.c.end_minute
    rows = connection.execute(select(_outage).where(meets, lasts).order_by(_outage.c.first_minute, _outage.c.number))
    return [_announced(row) for row in rows]


def _announced(row: Any) -> Announced:
    return Announced(**{name: getattr(row, name) for name in _names(_outage)})


def last_heads(connection: Connection, end: int) -> dict[str, SeenHead]:
    """The newest head of each service that was seen before minute *end*."""
    newest = select(_head.c.service, func.max(_head.c.number).label("number")).where(_head.c.minute < end)
    last = newest.group_by(_head.c.service).subquery()
    found = select(_head).join(last, and_(_head.c.service == last.c.service, _head.c.number == last.c.number))
    return {
        row.service: SeenHead(row.minute, row.service, row.number, row.hash, row.entries)
        for row in connection.execute(found)
    }


def _streamed(connection: Connection, table: Table, first: int, end: int) -> Iterator[Any]:
    within = select(table).where(table.c.minute >= first, table.c.minute < end).order_by(*table.primary_key)
    with connection.execute(within, execution_options={"yield_per": ROWS_AT_ONCE}) as rows:
        yield from rows


def _replace(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    upsert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    others = {name: upsert.excluded[name] for name in _names(table) if name not in keys}
    connection.execute(upsert.on_conflict_do_update(index_elements=keys, set_=others), rows)


def _row_of(table: Table, seen: object) -> dict[str, Any]:
    """What *seen* says for the columns of *table*."""
    return {name: getattr(seen, name) for name in _names(table) if hasattr(seen, name)}


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _columns(tally: Tally) -> dict[str, Any]:
    counts = {name: tally.counts[fault] for fault, name in _COUNTS.items()}
    return counts | {"latencies": histogram.pack(tally.latencies)}


def _tally(row: Any) -> Tally:
    counts = Counter({fault: getattr(row, name) for fault, name in _COUNTS.items()})
    return Tally(counts, histogram.unpack(row.latencies))
