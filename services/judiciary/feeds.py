"""Feed of the judiciary service: one row for each party of a case; a case without a known party has one row."""

from typing import Any

import pyarrow.compute as pc
from sqlalchemy import ColumnElement, and_, false

from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.loading.checks import Check, Columns
from estelam.loading.feed import Claims, Feed
from estelam.loading.formats import case_number, digits, identifier, past_date, text, word
from judiciary.repository import FIRST_DATE, Kind, Role, case_table


def _without_cheque_and_person(columns: Columns) -> Any:
    without_cheque = pc.and_(pc.equal(columns["tracking_id"], ""), pc.equal(columns["sayad_id"], ""))
    return pc.and_(without_cheque, pc.equal(columns["national_id"], ""))


def _role_without_person(columns: Columns) -> Any:
    return pc.and_(pc.not_equal(columns["role"], ""), pc.equal(columns["national_id"], ""))


def _not_linked(row: Any, declared: Claims) -> ColumnElement[bool]:
    """Return the condition that a case should be linked to a certificate and is not, so that a NO may miss it."""
    if declared.tracking_since is None:
        return false()
    return and_(row.tracking_id.is_(None), row.filed_on >= declared.tracking_since)


def _not_covered(row: Any, declared: Claims) -> ColumnElement[bool]:
    """Return the condition that no answer takes account of a case, perhaps because its filing date is mistyped."""
    if declared.complete_since is None:
        return false()
    return row.filed_on < declared.complete_since  # type: ignore[no-any-return]  # a column of any table


CASES = Feed(
    name="cases",
    table=case_table,
    columns={
        "case_number": case_number(at_most=32),
        "kind": word(frozenset(Kind)),
        "filed_on": past_date(),
        "registered_at": text(),
        "tracking_id": identifier(pb.CheckByTrackingIdRequest, "tracking_id", optional=True),
        "sayad_id": digits(16, "NOT_A_SAYAD_ID", optional=True).or_absent(),
        "national_id": identifier(pb.CheckByNationalIdRequest, "national_id", optional=True),
        "role": word(frozenset(Role)),
    },
    checks=(
        Check("tracking_id", "NEITHER_CHEQUE_NOR_PERSON", _without_cheque_and_person),
        Check("role", "ROLE_WITHOUT_PERSON", _role_without_person),
    ),
    warnings={"cases_without_tracking_id": _not_linked, "cases_filed_before_coverage": _not_covered},
    key=("case_number", "national_id", "role"),
    consistent=("kind", "filed_on", "registered_at", "tracking_id", "sayad_id"),
    subjects={"tracking": "tracking_id", "cheque": "sayad_id", "person": "national_id"},
    identifiers=("case_number", "tracking_id", "sayad_id"),
    first_date=FIRST_DATE,
    is_dated=True,
)
"""Cases; the rows of a case are added to the stored ones, or replace them, as their file declares."""

FEEDS = (CASES,)
"""The kinds of files of the service."""
