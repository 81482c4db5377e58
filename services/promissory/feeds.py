"""Feeds of the promissory service: columns, checks and keys of the notes file and the member agencies file."""

from typing import Any

import pyarrow.compute as pc

from estelam.loading.checks import Check, Columns
from estelam.loading.feed import Feed
from estelam.loading.formats import amount, any_date, digits, identifier, numbers, past_date, text, whole_number, word
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory.repository import State, member_table, note_table

_OBLIGOR = identifier(pb.CheckNoteRequest, "obligor_id")
_BENEFICIARY = identifier(pb.CheckNoteRequest, "beneficiary_id")
# The Treasury's service has no address of recipients and endorsees, and an optional one of the issuer.
_ADDRESS = text(optional=True).or_absent()
_POSTAL_CODE = digits(10, "NOT_A_POSTAL_CODE", optional=True).or_absent()


def _exceeds_face_amount(columns: Columns) -> Any:
    return pc.greater(numbers(columns["remaining_rials"]), numbers(columns["amount_rials"]))


def _due_before_issue(columns: Columns) -> Any:
    # Both are ISO dates, which compare as their texts do; without a due date the note is payable on demand.
    return pc.and_(pc.not_equal(columns["due_on"], ""), pc.less(columns["due_on"], columns["issued_on"]))


MEMBERS = Feed(
    name="members",
    table=member_table,
    columns={
        "agency_id": identifier(pb.GetNotePartiesRequest, "executive_agency_id", has_letters=True),
        "name": text(),
    },
    key=("agency_id",),
    full_snapshot=True,
)
"""All member agencies of Setad: a stored agency that is not in the file is deleted."""

NOTES = Feed(
    name="notes",
    table=note_table,
    columns={
        "serial": identifier(pb.CheckNoteRequest, "serial"),
        "state": word(frozenset(State)),
        "obligor_id": _OBLIGOR,
        "obligor_name": text(),
        "obligor_address": _ADDRESS,
        "obligor_postal_code": _POSTAL_CODE,
        "beneficiary_id": _BENEFICIARY,
        "beneficiary_name": text(optional=True).or_absent(),
        "holder_id": _BENEFICIARY,
        "holder_name": text(),
        "holder_address": _ADDRESS,
        "holder_postal_code": _POSTAL_CODE,
        "amount_rials": amount(pb.CheckNoteRequest, "amount_rials"),
        "remaining_rials": whole_number(),
        "issued_on": past_date(),
        "due_on": any_date(optional=True),
        "payment_place": text(),
    },
    checks=(
        Check("remaining_rials", "MORE_THAN_THE_FACE_AMOUNT", _exceeds_face_amount),
        Check("due_on", "BEFORE_THE_DATE_OF_ISSUE", _due_before_issue),
    ),
    ignored=frozenset({"transferable", "guarantors", "guarantor_id", "guarantor_name"}),
    key=("serial",),
    subjects={"serial": "serial"},
    other_kinds=frozenset({MEMBERS.name}),
    identifiers=("serial",),
)
"""Notes; a row replaces the stored note with the same serial."""

FEEDS = (NOTES, MEMBERS)
"""The kinds of files of the service."""
