"""Traffic of consumers: what the ledgers hold and what the services counted, reconciled so that each call counts once.

In a minute in which the service counted its calls, its counts are what the callers experienced: an entry whose caller
got ANSWER_LATE is no answer, and a refusal that no ledger holds counts. In any other minute the entries count. An entry
of an answer that the service did not count as sent, because the process crashed, counts as not known.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    insert,
    select,
    update,
)

from estelam.ledger.errors import LedgerCorruptError
from estelam.storage.base import FACTS
from estelam.telemetry import histogram
from quality import repository
from quality.attribution import Attribution
from quality.records import Observation, SentCalls, Tally

LEDGER = "ledger"
"""The source of the entries, beside the ids of the services' files of counts."""

_TABLES = MetaData(schema=FACTS)
_COUNTS: dict[Attribution | None, str] = {
    None: "answered",
    Attribution.PROVIDER: "provider",
    Attribution.EXCHANGE: "exchange",
    Attribution.CONSUMER: "consumer_fault",
    Attribution.UNGRANTED: "ungranted",
    Attribution.THROTTLED: "throttled",
}
_SENT_COUNTS: dict[Attribution | None, str] = {
    None: "sent_answered",
    Attribution.PROVIDER: "sent_provider",
    Attribution.CONSUMER: "sent_consumer_fault",
    Attribution.UNGRANTED: "sent_ungranted",
    Attribution.THROTTLED: "sent_throttled",
    Attribution.UNKNOWN: "sent_unknown",
}
_observation = Table(
    "observation",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("method", Text, primary_key=True),
    Column("consumer", Text, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in _COUNTS.values()),
    Column("latencies", LargeBinary, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in _SENT_COUNTS.values()),
    Column("sent_late", BigInteger, nullable=False),
    Column("sent_latencies", LargeBinary, nullable=False),
)
_counted_minute = Table(
    "counted_minute",
    _TABLES,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("wire", Text, primary_key=True),
)
_reading_position = Table(
    "reading_position",
    _TABLES,
    Column("service", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("read_until_micros", BigInteger, nullable=False),
)


def add_observations(connection: Connection, observations: Iterable[Observation]) -> None:
    """Store *observations* of a ledger, adding their tallies to those already stored under the same key.

    Raises:
        LedgerCorruptError: more is subtracted than was counted: a ledger annuls an answer twice.
    """
    for observation in observations:
        row = _stored(connection, observation)
        total = Tally() if row is None else _entries(row)
        total.add(observation.tally)
        if min((*total.counts.values(), *total.latencies.values()), default=0) < 0:
            raise LedgerCorruptError("an entry annuls an answer that was annulled before")
        _store(connection, observation, _columns(total), is_new=row is None)


def add_sent_calls(connection: Connection, calls: Iterable[SentCalls]) -> None:
    """Store what services counted, adding it to what is already stored under the same key."""
    for one in calls:
        row = _stored(connection, one)
        total, late = (Tally(), 0) if row is None else (_sent(row), row.sent_late)
        total.add(one.tally)
        _store(connection, one, _sent_columns(total, late + one.late), is_new=row is None)


def insert_observations(connection: Connection, observations: Iterable[Observation]) -> None:
    """Store *observations* of a ledger in bulk; none of their keys may exist yet."""
    rows = [_key(one) | _sent_columns(Tally(), 0) | _columns(one.tally) for one in observations]
    if rows:
        connection.execute(insert(_observation), rows)


def mark_counted(connection: Connection, minutes: Iterable[tuple[int, str]]) -> None:
    """Store in which minutes a service, package.Service, counted its calls."""
    repository.upsert(connection, _counted_minute, [{"minute": minute, "wire": wire} for minute, wire in minutes])


def counted_minutes(connection: Connection, first: int, end: int) -> dict[str, set[int]]:
    """Return the minutes from *first* to before *end* in which each service, package.Service, counted its calls."""
    within = select(_counted_minute).where(_counted_minute.c.minute >= first, _counted_minute.c.minute < end)
    found: dict[str, set[int]] = {}
    for minute, wire in connection.execute(within):
        found.setdefault(wire, set()).add(minute)
    return found


def position(connection: Connection, service: str, source: str) -> int:
    """Return how far *source* of *service* was read; 0 before the first time."""
    key = and_(_reading_position.c.service == service, _reading_position.c.source == source)
    return connection.execute(select(_reading_position.c.position).where(key)).scalar() or 0


def save_position(connection: Connection, service: str, source: str, position: int, read_until_micros: int) -> None:
    """Store that *source* of *service* was read up to *position*, and so all that it held at *read_until_micros*."""
    row = {"service": service, "source": source, "position": position, "read_until_micros": read_until_micros}
    repository.upsert(connection, _reading_position, [row])


def read_until(connection: Connection) -> dict[str, int]:
    """Return the instant, in microseconds since 1970, up to which all traffic of each service was read.

    It is that of the ledger, if it is read, else the latest one of the service's counts.
    """
    newest: dict[str, int] = {}
    ledgers: dict[str, int] = {}
    for row in connection.execute(select(_reading_position)):
        found = ledgers if row.source == LEDGER else newest
        found[row.service] = max(found.get(row.service, 0), row.read_until_micros)
    return newest | ledgers


def observations(connection: Connection, first: int, end: int) -> Iterator[Observation]:
    """Stream the reconciled observations from minute *first* to before *end*, ordered by minute and method."""
    counted = counted_minutes(connection, first, end)
    newest = {wire: max(minutes) for wire, minutes in counted.items()}
    surplus: dict[tuple[str, str], tuple[int, int]] = {}
    last = first
    for row in repository.stream(connection, _observation, first, end):
        last, wire = row.minute, row.method.partition("/")[0]
        if row.minute not in counted.get(wire, ()):
            yield Observation(row.minute, row.method, row.consumer, _entries(row))
            continue
        tally = _sent(row)
        # The counts of the newest minutes are still coming in.
        if row.minute < newest[wire] and (lost := _lost(row, surplus)):
            tally.counts[Attribution.UNKNOWN] += lost
        yield Observation(row.minute, row.method, row.consumer, tally)
    for (method, consumer), (minute, waiting) in surplus.items():
        if minute < newest[method.partition("/")[0]] - 1:  # with the last minute that was read, to keep the order
            yield Observation(last, method, consumer, Tally(Counter({Attribution.UNKNOWN: waiting})))


def _lost(row: Any, surplus: dict[tuple[str, str], tuple[int, int]]) -> int:
    """Return the number of answers that are entries of an earlier minute and were sent neither in it nor in *row*'s.

    *surplus* has, for each method and consumer, the last minute that had more of them than were sent, and how many: an
    answer that is recorded at the end of a minute is sent in the next one.
    """
    key = row.method, row.consumer
    minute, waiting = surplus.pop(key, (0, 0))
    more = row.answered - row.sent_answered - row.sent_late
    lost = waiting if minute < row.minute - 1 else min(waiting, max(0, waiting + more))
    left = more if minute < row.minute - 1 else waiting + more - lost
    if left > 0:
        surplus[key] = (row.minute, left)
    return lost


def _stored(connection: Connection, one: Observation | SentCalls) -> Any:
    return connection.execute(select(_observation).where(_is_key(one))).first()


def _is_key(one: Observation | SentCalls) -> Any:
    return and_(*(_observation.c[name] == value for name, value in _key(one).items()))


def _key(one: Observation | SentCalls) -> dict[str, Any]:
    return {"minute": one.minute, "method": one.method, "consumer": one.consumer}


def _store(connection: Connection, one: Observation | SentCalls, columns: dict[str, Any], *, is_new: bool) -> None:
    if is_new:
        empty = _columns(Tally()) | _sent_columns(Tally(), 0)
        connection.execute(insert(_observation), empty | _key(one) | columns)
    else:
        connection.execute(update(_observation).where(_is_key(one)), columns)


def _columns(tally: Tally) -> dict[str, Any]:
    counts = {name: tally.counts[fault] for fault, name in _COUNTS.items()}
    return counts | {"latencies": histogram.pack(tally.latencies)}


def _sent_columns(tally: Tally, late: int) -> dict[str, Any]:
    counts = {name: tally.counts[fault] for fault, name in _SENT_COUNTS.items()}
    return counts | {"sent_late": late, "sent_latencies": histogram.pack(tally.latencies)}


def _entries(row: Any) -> Tally:
    return Tally(_counts(row, _COUNTS), histogram.unpack(row.latencies))


def _sent(row: Any) -> Tally:
    return Tally(_counts(row, _SENT_COUNTS), histogram.unpack(row.sent_latencies))


def _counts(row: Any, names: Mapping[Attribution | None, str]) -> Counter[Attribution | None]:
    found: Counter[Attribution | None] = Counter()
    for fault, name in names.items():
        if count := getattr(row, name):
            found[fault] = count
    return found
