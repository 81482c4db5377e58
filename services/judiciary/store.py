"""The facts of cases about cheques: tables and queries."""

from collections.abc import Collection
from datetime import date
from enum import StrEnum

from sqlalchemy import BindParameter, Column, Connection, Date, Integer, Table, Text, bindparam, select

from estelam.coverage import FACTS


class Kind(StrEnum):
    """What kind of claim a case is (نوع دعوا)."""

    CIVIL = "CIVIL"
    CRIMINAL = "CRIMINAL"


class Role(StrEnum):
    """What part a person has in a case (سمت)."""

    DRAWER = "DRAWER"
    HOLDER = "HOLDER"
    ENDORSER = "ENDORSER"
    GUARANTOR = "GUARANTOR"
    UNKNOWN = ""


case_table = Table(
    "cheque_case",
    FACTS,
    Column("case_number", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("filed_on", Date, nullable=False),
    Column("registered_at", Text, nullable=False),
    Column("tracking_id", Text),
    Column("load_number", Integer, nullable=False),
)

party_table = Table(
    "case_party",
    FACTS,
    Column("case_number", Text, primary_key=True),
    Column("national_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("load_number", Integer, nullable=False),
)

# Statements are built once: each run of one costs a tenth of building it.
_ASKED: BindParameter[str] = bindparam("asked", expanding=True)
_SINCE = bindparam("since", type_=Date)
_DRAWERS = (
    select(party_table.c.national_id)
    .join(case_table, party_table.c.case_number == case_table.c.case_number)
    # Named without a role, they may be the drawer: a doubt counts as yes.
    .where(party_table.c.role.in_((Role.DRAWER.value, Role.UNKNOWN.value)))
    .where(party_table.c.national_id.in_(_ASKED), case_table.c.filed_on >= _SINCE)
    .distinct()
)
_CHEQUES = (
    select(case_table.c.tracking_id)
    .where(case_table.c.tracking_id.in_(_ASKED), case_table.c.filed_on >= _SINCE)
    .distinct()
)


def drawers_with_case(connection: Connection, national_ids: Collection[str], since: date) -> set[str]:
    """Those of *national_ids* whom a case filed on or after *since* names as drawer, or without a role."""
    return set(connection.execute(_DRAWERS, {"asked": list(national_ids), "since": since}).scalars())


def cheques_with_case(connection: Connection, tracking_ids: Collection[str], since: date) -> set[str]:
    """Those of *tracking_ids* about whose cheque a case was filed on or after *since*."""
    found = connection.execute(_CHEQUES, {"asked": list(tracking_ids), "since": since}).scalars()
    return {tracking_id for tracking_id in found if tracking_id is not None}
