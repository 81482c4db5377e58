"""The officer's form: normalizes each field and validates it by the contract's rules."""

import json
from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from estelam.core import normalize, validation
from estelam.core.errors import Reason, Refusal, Violation
from estelam.core.purpose import check_purpose
from estelam.setad.v1 import note_verification_pb2 as pb

FIELDS = tuple(field.name for field in pb.VerifyNoteRequest.DESCRIPTOR.fields)
AMOUNT, AGENCY = "amount_rials", "executive_agency_id"
CASE = "case_reference"
"""The officer's own file number, optional: metadata of the inquiry, no field of the request."""
INPUTS = (*FIELDS, CASE)


def normalized_fields(typed: Mapping[str, str]) -> dict[str, str]:
    """Return each field in the contract's form where possible, else as typed."""
    fields = {name: normalize.normalize_digits(typed.get(name, "")) for name in FIELDS}
    fields[AGENCY] = normalize.normalize_identifier(typed.get(AGENCY, ""))
    try:
        fields[AMOUNT] = str(normalize.parse_amount(typed.get(AMOUNT, "")))
    except ValueError:
        fields[AMOUNT] = normalize.normalize_identifier(typed.get(AMOUNT, ""))
    return fields


def typed_amount(typed: Mapping[str, str]) -> int | None:
    """Return the amount that the form holds; None if it holds none."""
    try:
        return normalize.parse_amount(typed.get(AMOUNT, ""))
    except ValueError:
        return None


def parse_case(typed: Mapping[str, str]) -> str:
    """Return the case reference that the form holds; empty without one.

    Raises:
        ValueError: no metadata can hold it.
    """
    case = normalize.normalize_text(typed.get(CASE, ""))
    return check_purpose(case) if case else ""


def parse_form(typed: Mapping[str, str]) -> pb.VerifyNoteRequest:
    """Return the request that the form holds.

    Raises:
        Refusal: FIELD_INVALID, with every invalid field, in the form's order.
    """
    fields = normalized_fields(typed)
    found = {name: Violation.of(name, "field.empty") for name, value in fields.items() if not value}
    amount = fields.pop(AMOUNT)
    if rule := normalize.amount_rule(amount):
        found.setdefault(AMOUNT, Violation.of(AMOUNT, rule))
    request = pb.VerifyNoteRequest(**fields, amount_rials=1 if AMOUNT in found else int(amount))
    try:
        validation.validate(request)
    except Refusal as refusal:
        for violation in refusal.violations:
            # An agency may be given by its name too, which has been replaced by its id if the list has it.
            is_agency = violation.field == AGENCY
            found.setdefault(violation.field, Violation.of(AGENCY, "agency.form") if is_agency else violation)
    try:
        parse_case(typed)
    except ValueError:
        found[CASE] = Violation.of(CASE, "case.form")
    if found:
        raise Refusal(Reason.FIELD_INVALID, [found[name] for name in INPUTS if name in found])
    return request


def encode_form(typed: Mapping[str, str]) -> bytes:
    """Return the form as the bytes that `decode_form` parses, within the pipeline."""
    return json.dumps(dict(typed)).encode("ascii")


def decode_form(_kind: type[Message], encoded: bytes) -> Message:
    """Return the request that an encoded form holds.

    Raises:
        Refusal: see `parse_form`.
    """
    return parse_form(json.loads(encoded))


def violations(typed: Mapping[str, str], inputs: Sequence[str] = INPUTS) -> list[Violation]:
    """Return what is wrong with *inputs* of the form."""
    try:
        parse_form(typed)
    except Refusal as refusal:
        return [violation for violation in refusal.violations if violation.field in inputs]
    return []
