"""Feeds of the promissory service: columns, checks and keys of the notes file and the member agencies file."""

from datetime import date
from typing import Any

import pyarrow.compute as pc

from estelam.loading.checks import (
    Check,
    Columns,
    contract_amount,
    contract_rules,
    iso_date,
    matching,
    numbers,
    one_of,
    reject_where,
    text,
    whole_number,
)
from estelam.loading.feed import Feed
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory.repository import State, member_table, note_table

# The notes data is complete or it is not; completeness has no first date.
FIRST_DATE = date.min


def _exceeds_face_amount(columns: Columns) -> Any:
    return pc.greater(numbers(columns["remaining_rials"]), numbers(columns["amount_rials"]))


def _party_checks(side: str) -> tuple[Check, ...]:
    # The Treasury's service has no address of recipients and endorsees, and an optional one of the issuer.
    return (
        matching(f"{side}_postal_code", "NOT_A_POSTAL_CODE", "([0-9]{10})?"),
        text(f"{side}_name"),
        text(f"{side}_address", optional=True),
    )


NOTES = Feed(
    name="notes",
    table=note_table,
    columns=tuple(column.name for column in note_table.columns if column.name != "load_number"),
    checks=(
        whole_number("amount_rials"),
        whole_number("remaining_rials"),
        reject_where("remaining_rials", "MORE_THAN_THE_FACE_AMOUNT", _exceeds_face_amount),
        contract_rules("serial", pb.CheckNoteRequest, "serial"),
        contract_rules("obligor_id", pb.CheckNoteRequest, "obligor_id"),
        contract_rules("holder_id", pb.CheckNoteRequest, "beneficiary_id"),
        contract_amount("amount_rials", pb.CheckNoteRequest, "amount_rials"),
        contract_rules("beneficiary_id", pb.CheckNoteRequest, "beneficiary_id"),
        one_of("state", frozenset(State)),
        iso_date("issued_on"),
        iso_date("due_on", optional=True),
        text("payment_place"),
        *_party_checks("obligor"),
        *_party_checks("holder"),
    ),
    key=("serial",),
    subjects={"serial": "serial"},
)
"""Notes; a row replaces the stored note with the same serial."""

MEMBERS = Feed(
    name="members",
    table=member_table,
    columns=("agency_id", "name"),
    checks=(contract_rules("agency_id", pb.GetNotePartiesRequest, "executive_agency_id"), text("name")),
    key=("agency_id",),
    full_snapshot=True,
)
"""All member agencies of Setad: a stored agency that is not in the file is deleted."""
