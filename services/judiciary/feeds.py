"""Feed of the judiciary service: one row for each party of a case; a case without a known party has one row."""

from typing import Any

import pyarrow.compute as pc

from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.loading.checks import Columns, contract_rules, iso_date, one_of, reject_where, text
from estelam.loading.feed import Feed
from judiciary.repository import Kind, Role, case_table


def _without_cheque_and_person(columns: Columns) -> Any:
    return pc.and_(pc.equal(columns["tracking_id"], ""), pc.equal(columns["national_id"], ""))


def _role_without_person(columns: Columns) -> Any:
    return pc.and_(pc.not_equal(columns["role"], ""), pc.equal(columns["national_id"], ""))


CASES = Feed(
    name="cases",
    table=case_table,
    columns=("case_number", "kind", "filed_on", "registered_at", "tracking_id", "national_id", "role"),
    checks=(
        reject_where("tracking_id", "NEITHER_CHEQUE_NOR_PERSON", _without_cheque_and_person),
        contract_rules("tracking_id", pb.CheckByTrackingIdRequest, "tracking_id", optional=True),
        contract_rules("national_id", pb.CheckByNationalIdRequest, "national_id", optional=True),
        one_of("role", frozenset(Role)),
        reject_where("role", "ROLE_WITHOUT_PERSON", _role_without_person),
        text("case_number", at_most=32),
        one_of("kind", frozenset(Kind)),
        iso_date("filed_on"),
        text("registered_at"),
    ),
    key=("case_number", "national_id", "role"),
    consistent=("kind", "filed_on", "registered_at", "tracking_id"),
    subjects={"tracking": "tracking_id", "person": "national_id"},
)
"""Cases; the rows of a case replace all stored rows of that case."""
