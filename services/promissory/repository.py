"""Tables and queries of promissory notes and member agencies."""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Date, Index, Integer, Table, Text, exists, select

from estelam.storage.facts import CODE, FACTS_METADATA
from estelam.storage.statements import Statement, each


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

_note = note_table.c
_serials, _agencies = each("serials"), each("agencies")
_ASKED_NOTES = _serials.join(note_table, _note.serial == _serials.c.value, isouter=True)
_NOTE_FACTS = Statement(
    select(_note.serial, _note.state, _note.obligor_id, _note.holder_id, _note.amount_rials).select_from(_ASKED_NOTES)
)
_NOTE_PARTIES = Statement(
    select(
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
    ).select_from(_ASKED_NOTES)
)
_IS_MEMBER = exists(member_table.c.agency_id).where(member_table.c.agency_id == _agencies.c.value)
_MEMBERS = Statement(select(_agencies.c.value).where(_IS_MEMBER))


def note_facts(connection: Connection, serials: Collection[str]) -> dict[str, Any]:
    """Return state, obligor, holder and face amount of the notes that exist, by serial."""
    return {row.serial: row for row in _NOTE_FACTS.rows(connection, serials=serials) if row.serial is not None}


def note_parties(connection: Connection, serials: Collection[str]) -> dict[str, Any]:
    """Return the facts of the notes that exist and their parties' names and addresses, by serial."""
    return {row.serial: row for row in _NOTE_PARTIES.rows(connection, serials=serials) if row.serial is not None}


def member_agencies(connection: Connection, agencies: Collection[str]) -> set[str]:
    """Return those of *agencies* that are registered members of Setad."""
    return {row.value for row in _MEMBERS.rows(connection, agencies=agencies)}
