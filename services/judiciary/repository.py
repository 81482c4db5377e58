"""Tables and queries of court cases over cheques."""

from collections.abc import Collection
from datetime import date
from enum import StrEnum

from sqlalchemy import (
    Column,
    Connection,
    Date,
    Index,
    Integer,
    Table,
    Text,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
    text,
)

from estelam.storage.facts import CODE, FACTS_METADATA
from estelam.storage.statements import Statement, each

FIRST_DATE = date(2021, 3, 21)
"""1 Farvardin 1400: inquiries are about cases filed from this day on, unless coverage declares another day (R3.1.2)."""


class Kind(StrEnum):
    """Kind of a case (نوع دعوا)."""

    CIVIL = "CIVIL"
    CRIMINAL = "CRIMINAL"


class Role(StrEnum):
    """Role of a person in a case (سمت)."""

    DRAWER = "DRAWER"
    HOLDER = "HOLDER"
    ENDORSER = "ENDORSER"
    GUARANTOR = "GUARANTOR"
    UNKNOWN = ""


_HAS_SAYAD_ID = text("sayad_id IS NOT NULL")

# One row for each party of a case; a case without a known party has one row with an empty person. All queries read
# only indexes, so their cost does not depend on the number of cases.
case_table = Table(
    "cheque_case",
    FACTS_METADATA,
    Column("case_number", CODE, nullable=False),
    Column("kind", CODE, nullable=False),
    Column("filed_on", Date, nullable=False),
    Column("registered_at", Text, nullable=False),
    Column("tracking_id", CODE),
    Column("sayad_id", CODE),
    Column("national_id", CODE, nullable=False),
    Column("role", CODE, nullable=False),
    Column("load_number", Integer, nullable=False),
    Index("cheque_case_key", "case_number", "national_id", "role", unique=True),
    Index("cheque_case_tracking_id", "tracking_id", "filed_on", "sayad_id"),
    Index("cheque_case_sayad_id", "sayad_id", "filed_on", sqlite_where=_HAS_SAYAD_ID, postgresql_where=_HAS_SAYAD_ID),
    Index("cheque_case_national_id", "national_id", "role", "filed_on"),
    Index("cheque_case_load", "load_number", postgresql_using="brin"),
)

_SINCE = bindparam("since", type_=Date)
_case = case_table.c
_persons, _certificates = each("national_ids"), each("tracking_ids")
_DRAWERS = Statement(
    select(_persons.c.value).where(
        exists(_case.filed_on)
        .where(_case.national_id == _persons.c.value, _case.filed_on >= _SINCE)
        # A person without a role may be the drawer, so the answer is YES.
        .where(_case.role.in_([literal_column(f"'{role}'") for role in (Role.DRAWER, Role.UNKNOWN)]))
    )
)
_other = case_table.alias("other")
# Certificates that have a row, and share the Sayad id of a cheque: a case about any of them is about the cheque.
_OF_SAME_CHEQUE = exists(_other.c.filed_on).where(_other.c.sayad_id == _case.sayad_id, _other.c.filed_on >= _SINCE)
_CHEQUES = Statement(
    select(_certificates.c.value).where(
        exists(_case.filed_on).where(
            _case.tracking_id == _certificates.c.value, or_(_case.filed_on >= _SINCE, _OF_SAME_CHEQUE)
        )
    )
)


def drawers_with_case(connection: Connection, national_ids: Collection[str], since: date) -> set[str]:
    """Return those of *national_ids* that a case filed on or after *since* names as drawer or without a role."""
    return {row.value for row in _DRAWERS.rows(connection, national_ids=national_ids, since=since)}


def cheques_with_case(connection: Connection, tracking_ids: Collection[str], since: date) -> set[str]:
    """Return those of *tracking_ids* whose cheque is the subject of a case filed on or after *since*.

    The case may be about another certificate of that cheque, if rows of both have the cheque's Sayad id. A tracking id
    without a row is not returned.
    """
    return {row.value for row in _CHEQUES.rows(connection, tracking_ids=tracking_ids, since=since)}
