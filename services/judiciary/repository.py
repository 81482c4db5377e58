"""Tables and queries of court cases over cheques."""

from collections.abc import Collection
from datetime import date
from enum import StrEnum

from sqlalchemy import (
    BindParameter,
    Column,
    Connection,
    Date,
    Index,
    Integer,
    Table,
    Text,
    bindparam,
    or_,
    select,
    text,
)

from estelam.storage.facts import CODE, FACTS_METADATA


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

# Statements are built once, because building one costs ten times as much as executing it.
_KEYS: BindParameter[str] = bindparam("keys", expanding=True)
_SINCE = bindparam("since", type_=Date)
_case = case_table.c
_DRAWERS = (
    select(_case.national_id)
    # A person without a role may be the drawer, so the answer is YES.
    .where(_case.national_id.in_(_KEYS), _case.role.in_((Role.DRAWER.value, Role.UNKNOWN.value)))
    .where(_case.filed_on >= _SINCE)
    .distinct()
)
_other = case_table.alias("other")
# Certificates that have a row, and share the Sayad id of a cheque: a case about any of them is about the cheque.
_OF_SAME_CHEQUE = (
    select(_other.c.filed_on).where(_other.c.sayad_id == _case.sayad_id, _other.c.filed_on >= _SINCE).exists()
)
_CHEQUES = (
    select(_case.tracking_id)
    .where(_case.tracking_id.in_(_KEYS), or_(_case.filed_on >= _SINCE, _OF_SAME_CHEQUE))
    .distinct()
)


def drawers_with_case(connection: Connection, national_ids: Collection[str], since: date) -> set[str]:
    """Return those of *national_ids* that a case filed on or after *since* names as drawer or without a role."""
    return set(connection.execute(_DRAWERS, {"keys": list(national_ids), "since": since}).scalars())


def cheques_with_case(connection: Connection, tracking_ids: Collection[str], since: date) -> set[str]:
    """Return those of *tracking_ids* whose cheque is the subject of a case filed on or after *since*.

    The case may be about another certificate of that cheque, if rows of both have the cheque's Sayad id. A tracking id
    without a row is not returned.
    """
    found = connection.execute(_CHEQUES, {"keys": list(tracking_ids), "since": since}).scalars()
    return {tracking_id for tracking_id in found if tracking_id is not None}
