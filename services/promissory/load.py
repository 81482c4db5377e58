"""What the notes' and the member agencies' files hold."""

from datetime import date
from functools import partial

from sqlalchemy import Connection, delete

from estelam.loading import (
    BadRow,
    Feed,
    Fields,
    Row,
    day,
    duplicates,
    keep_contract,
    one_of,
    upsert,
    whole_number,
    words,
)
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from promissory.store import State, member_table, note_table

# A register of notes is complete or it is not; it has no first date.
FIRST_DATE = date.min

_STATES = frozenset(State)


def _note(fields: Fields) -> Row:
    amount = whole_number(fields, "amount_rials")
    remaining = whole_number(fields, "remaining_rials")
    if remaining > amount:
        raise BadRow("remaining_rials", "MORE_THAN_THE_FACE_AMOUNT")
    for column in ("holder_id", "beneficiary_id"):
        request = pb.CheckNoteRequest(
            serial=fields["serial"],
            obligor_id=fields["obligor_id"],
            beneficiary_id=fields[column],
            amount_rials=amount,
        )
        keep_contract(request, {"beneficiary_id": column})
        if fields["holder_id"] == fields["beneficiary_id"]:
            break
    return {
        "serial": fields["serial"],
        "state": one_of(fields, "state", _STATES),
        "beneficiary_id": fields["beneficiary_id"],
        "amount_rials": amount,
        "remaining_rials": remaining,
        "issued_on": day(fields, "issued_on"),
        "due_on": day(fields, "due_on") if fields["due_on"] else None,
        "payment_place": words(fields, "payment_place"),
        **_party(fields, "obligor"),
        **_party(fields, "holder"),
    }


def _party(fields: Fields, side: str) -> Row:
    postal_code = fields[f"{side}_postal_code"]
    if not (len(postal_code) == 10 and postal_code.isascii() and postal_code.isdigit()):
        raise BadRow(f"{side}_postal_code", "NOT_A_POSTAL_CODE")
    return {
        f"{side}_id": fields[f"{side}_id"],
        f"{side}_name": words(fields, f"{side}_name"),
        f"{side}_address": words(fields, f"{side}_address"),
        f"{side}_postal_code": postal_code,
    }


def _member(fields: Fields) -> Row:
    request = pb.GetNotePartiesRequest(serial="0" * 16, executive_agency_id=fields["agency_id"])
    keep_contract(request, {"executive_agency_id": "agency_id"})
    return {"agency_id": fields["agency_id"], "name": words(fields, "name")}


def _forget_former_members(connection: Connection, load: int) -> None:
    connection.execute(delete(member_table).where(member_table.c.load_number != load))


NOTES = Feed(
    columns=tuple(column.name for column in note_table.columns if column.name != "load_number"),
    parse=_note,
    key=("serial",),
    write=partial(upsert, note_table),
    conflicts=partial(duplicates, note_table),
)
"""Notes; one that is already known is replaced."""

MEMBERS = Feed(
    columns=("agency_id", "name"),
    parse=_member,
    key=("agency_id",),
    write=partial(upsert, member_table),
    conflicts=partial(duplicates, member_table),
    finish=_forget_former_members,
)
"""The whole list of Setad's member agencies: one that is not in the file is a member no more."""
