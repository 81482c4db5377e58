"""Tables and queries of promissory notes and member agencies."""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Connection,
    Date,
    Index,
    Integer,
    Row,
    Table,
    Text,
    bindparam,
    select,
)

from estelam.storage.facts import CODE, FACTS_METADATA


class State(StrEnum):
    """State of a note (وضعیت سفته)."""

    UNSIGNED = "UNSIGNED"
    """Not signed by the Ministry, without which a note is not final."""
    ISSUED = "ISSUED"
    GRADUALLY_SETTLED = "GRADUALLY_SETTLED"
    SETTLED = "SETTLED"
    PROTESTED = "PROTESTED"
    REVOKED = "REVOKED"


note_table = Table(
    "note",
    FACTS_METADATA,
    Column("serial", CODE, nullable=False),
    Column("state", CODE, nullable=False),
    Column("obligor_id", CODE, nullable=False),
    Column("obligor_name", Text, nullable=False),
    Column("obligor_address", Text, nullable=False),
    Column("obligor_postal_code", CODE, nullable=False),
    Column("beneficiary_id", CODE, nullable=False),
    Column("beneficiary_name", Text, nullable=False),
    Column("holder_id", CODE, nullable=False),
    Column("holder_name", Text, nullable=False),
    Column("holder_address", Text, nullable=False),
    Column("holder_postal_code", CODE, nullable=False),
    Column("amount_rials", BigInteger, nullable=False),
    Column("remaining_rials", BigInteger, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date),
    Column("payment_place", Text, nullable=False),
    Column("load_number", Integer, nullable=False),
    Index("note_key", "serial", unique=True),
    Index("note_load", "load_number", postgresql_using="brin"),
)

member_table = Table(
    "setad_member",
    FACTS_METADATA,
    Column("agency_id", CODE, nullable=False),
    Column("name", Text, nullable=False),
    Column("load_number", Integer, nullable=False),
    Index("setad_member_key", "agency_id", unique=True),
)

# Statements are built once, because building one costs ten times as much as executing it.
_note = note_table.c
_KEYS: BindParameter[str] = bindparam("keys", expanding=True)
_NOTE_FACTS = select(_note.serial, _note.state, _note.obligor_id, _note.holder_id, _note.amount_rials).where(
    _note.serial.in_(_KEYS)
)
_NOTE_PARTIES = select(
    _note.serial,
    _note.state,
    _note.obligor_id,
    _note.obligor_name,
    _note.obligor_address,
    _note.obligor_postal_code,
    _note.holder_id,
    _note.holder_name,
    _note.holder_address,
    _note.holder_postal_code,
    _note.amount_rials,
).where(_note.serial.in_(_KEYS))
_MEMBERS = select(member_table.c.agency_id).where(member_table.c.agency_id.in_(_KEYS))


def note_facts(connection: Connection, serials: Collection[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """Return state, obligor, holder and face amount of the notes that exist, by serial."""
    return {row.serial: row for row in connection.execute(_NOTE_FACTS, {"keys": list(serials)})}


def note_parties(connection: Connection, serials: Collection[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """Return the facts of the notes that exist and their parties' names and addresses, by serial."""
    return {row.serial: row for row in connection.execute(_NOTE_PARTIES, {"keys": list(serials)})}


def member_agencies(connection: Connection, agencies: Collection[str]) -> set[str]:
    """Return those of *agencies* that are registered members of Setad."""
    return set(connection.execute(_MEMBERS, {"keys": list(agencies)}).scalars())
