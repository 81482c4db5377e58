"""The facts of promissory notes: tables and queries."""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Date, Integer, Row, Table, Text, select

from estelam.coverage import FACTS


class State(StrEnum):
    """The life of a note (وضعیت سفته)."""

    ISSUED = "ISSUED"
    GRADUALLY_SETTLED = "GRADUALLY_SETTLED"
    SETTLED = "SETTLED"
    PROTESTED = "PROTESTED"
    REVOKED = "REVOKED"


note_table = Table(
    "note",
    FACTS,
    Column("serial", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("obligor_id", Text, nullable=False),
    Column("obligor_name", Text, nullable=False),
    Column("obligor_address", Text, nullable=False),
    Column("obligor_postal_code", Text, nullable=False),
    Column("beneficiary_id", Text, nullable=False),
    Column("holder_id", Text, nullable=False),
    Column("holder_name", Text, nullable=False),
    Column("holder_address", Text, nullable=False),
    Column("holder_postal_code", Text, nullable=False),
    Column("amount_rials", BigInteger, nullable=False),
    Column("remaining_rials", BigInteger, nullable=False),
    Column("issued_on", Date, nullable=False),
    Column("due_on", Date),
    Column("payment_place", Text, nullable=False),
    Column("load_number", Integer, nullable=False),
)

member_table = Table(
    "setad_member",
    FACTS,
    Column("agency_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("load_number", Integer, nullable=False),
)

_note = note_table.c
_FACTS_OF_A_NOTE = select(_note.serial, _note.state, _note.obligor_id, _note.holder_id, _note.amount_rials)
_PARTIES_OF_A_NOTE = select(
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
)


def facts(connection: Connection, serials: Collection[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """State, obligor, holder and face amount of the notes that exist, by serial."""
    return {row.serial: row for row in connection.execute(_FACTS_OF_A_NOTE.where(_note.serial.in_(serials)))}


def parties(connection: Connection, serials: Collection[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    """State, obligor and holder, with names and addresses, of the notes that exist, by serial."""
    return {row.serial: row for row in connection.execute(_PARTIES_OF_A_NOTE.where(_note.serial.in_(serials)))}


def members(connection: Connection, agencies: Collection[str]) -> set[str]:
    """Those of *agencies* that are registered members of Setad."""
    query = select(member_table.c.agency_id).where(member_table.c.agency_id.in_(agencies))
    return set(connection.execute(query).scalars())
