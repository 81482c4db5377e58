"""Tables of what the monitor has verified of each ledger, and of its alarms, with the functions that use them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    insert,
    select,
    update,
)

from estelam.receipts.tree import Frontier
from estelam.storage.base import FACTS
from quality import repository
from quality.records import AlarmKind, LedgerAlarm, VerifiedLedger

_TABLES = MetaData(schema=FACTS)

_verified_ledger = Table(
    "verified_ledger",
    _TABLES,
    Column("service", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("counted_until_micros", BigInteger, nullable=False),
    Column("restored_until_micros", BigInteger, nullable=False),
    Column("cosignature", Text, nullable=False),
)
_ledger_alarm = Table(
    "ledger_alarm",
    _TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("service", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("found_minute", BigInteger, nullable=False),
    Column("verified", Text, nullable=False),
    Column("found", Text, nullable=False),
    Column("witness", Text, nullable=False),
    Column("acknowledged_minute", BigInteger),
    Column("operator", Text, nullable=False),
    Column("reason", Text, nullable=False),
)


def verified_ledgers(connection: Connection) -> dict[str, VerifiedLedger]:
    """Return what was verified of each ledger, by service."""
    return {row.service: _verified(row) for row in connection.execute(select(_verified_ledger))}


def verified_ledger(connection: Connection, service: str) -> VerifiedLedger:
    """Return what was verified of the ledger of *service*: nothing, before the first time."""
    return verified_ledgers(connection).get(service, VerifiedLedger(service))


def save_verified(connection: Connection, verified: VerifiedLedger) -> None:
    """Store *verified* in place of what was verified before."""
    row = {
        "service": verified.service,
        "size": verified.tree.size,
        "note": verified.note,
        "frontier": verified.tree.serialize(),
        "counted_until_micros": verified.counted_until_micros,
        "restored_until_micros": verified.restored_until_micros,
        "cosignature": verified.cosignature,
    }
    repository.upsert(connection, _verified_ledger, [row])


def all_alarms(connection: Connection) -> list[LedgerAlarm]:
    """Return all alarms, in the order in which they were found."""
    return [_alarm(row) for row in connection.execute(select(_ledger_alarm).order_by(_ledger_alarm.c.number))]


def alarms_between(connection: Connection, first: int, end: int) -> list[LedgerAlarm]:
    """Return the alarms that stood at any time from minute *first* to before *end*."""
    found = (alarm for alarm in all_alarms(connection) if alarm.found_minute < end)
    return [alarm for alarm in found if alarm.acknowledged_minute is None or alarm.acknowledged_minute >= first]


def standing(alarms: Iterable[LedgerAlarm]) -> dict[str, LedgerAlarm]:
    """Return those of *alarms* that nobody has acknowledged, by service: at most one of each."""
    return {alarm.service: alarm for alarm in alarms if alarm.acknowledged_minute is None}


def raise_alarm(connection: Connection, alarm: LedgerAlarm) -> int:
    """Store *alarm* and return its number."""
    number = (connection.execute(select(func.max(_ledger_alarm.c.number))).scalar() or 0) + 1
    row = {name: getattr(alarm, name) for name in _ledger_alarm.columns.keys()}  # noqa: SIM118 - no mapping
    connection.execute(insert(_ledger_alarm), row | {"number": number, "kind": alarm.kind.value})
    return number


def acknowledge(connection: Connection, number: int, *, minute: int, operator: str, reason: str) -> None:
    """Store that *operator* acknowledged the alarm *number* in *minute*, and why."""
    facts = {"acknowledged_minute": minute, "operator": operator, "reason": reason}
    connection.execute(update(_ledger_alarm).where(_ledger_alarm.c.number == number).values(facts))


def _verified(row: Any) -> VerifiedLedger:
    tree = Frontier.parse(row.size, row.frontier)
    times = row.counted_until_micros, row.restored_until_micros
    return VerifiedLedger(row.service, row.note, tree, *times, row.cosignature)


def _alarm(row: Any) -> LedgerAlarm:
    return LedgerAlarm(**dict(row._mapping) | {"kind": AlarmKind(row.kind)})  # noqa: SLF001 - a public name of SQLAlchemy
