"""The facts of cases about cheques: tables and queries."""

from collections.abc import Collection
from datetime import date
from enum import StrEnum

from sqlalchemy import BindParameter, Column, Connection, Date, Index, Integer, Table, Text, bindparam, select

from estelam.storage.facts import CODE, FACTS_METADATA


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


# One row for each party of a case, or one without a person where no party is known. Both questions are answered from
# an index alone, however many rows there are.
case_table = Table(
    "cheque_case",
    FACTS_METADATA,
    Column("case_number", CODE, nullable=False),
    Column("kind", CODE, nullable=False),
    Column("filed_on", Date, nullable=False),
    Column("registered_at", Text, nullable=False),
    Column("tracking_id", CODE),
    Column("national_id", CODE, nullable=False),
    Column("role", CODE, nullable=False),
    Column("load_number", Integer, nullable=False),
    Index("cheque_case_key", "case_number", "national_id", "role", unique=True),
    Index("cheque_case_tracking_id", "tracking_id", "filed_on"),
    Index("cheque_case_national_id", "national_id", "role", "filed_on"),
    Index("cheque_case_load", "load_number", postgresql_using="brin"),
)

# Statements are built once: each run of one costs a tenth of building it.
_ASKED: BindParameter[str] = bindparam("asked", expanding=True)
_SINCE = bindparam("since", type_=Date)
_case = case_table.c
_DRAWERS = (
    select(_case.national_id)
    # Named without a role, they may be the drawer: a doubt counts as yes.
    .where(_case.national_id.in_(_ASKED), _case.role.in_((Role.DRAWER.value, Role.UNKNOWN.value)))
    .where(_case.filed_on >= _SINCE)
    .distinct()
)
_CHEQUES = select(_case.tracking_id).where(_case.tracking_id.in_(_ASKED), _case.filed_on >= _SINCE).distinct()


def drawers_with_case(connection: Connection, national_ids: Collection[str], since: date) -> set[str]:
    """Those of *national_ids* whom a case filed on or after *since* names as drawer, or without a role."""
    return set(connection.execute(_DRAWERS, {"asked": list(national_ids), "since": since}).scalars())


def cheques_with_case(connection: Connection, tracking_ids: Collection[str], since: date) -> set[str]:
    """Those of *tracking_ids* about whose cheque a case was filed on or after *since*."""
    found = connection.execute(_CHEQUES, {"asked": list(tracking_ids), "since": since}).scalars()
    return {tracking_id for tracking_id in found if tracking_id is not None}
