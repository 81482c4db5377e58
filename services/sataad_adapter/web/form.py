"""The officer's form: normalizes each field and validates it by the contract's rules."""

import json
from collections.abc import Mapping

from google.protobuf.message import Message

from estelam.core import normalize, validation
from estelam.core.errors import Reason, Refusal, Violation
from estelam.setad.v1 import note_verification_pb2 as pb

FIELDS = tuple(field.name for field in pb.VerifyNoteRequest.DESCRIPTOR.fields)
AMOUNT = "amount_rials"


def normalized_fields(typed: Mapping[str, str]) -> dict[str, str]:
    """Return each field in the contract's form where possible, else as typed."""
    fields = {name: normalize.normalize_digits(typed.get(name, "")) for name in FIELDS}
    fields["executive_agency_id"] = normalize.normalize_identifier(typed.get("executive_agency_id", ""))
    try:
        fields[AMOUNT] = str(normalize.parse_amount(typed.get(AMOUNT, "")))
    except ValueError:
        fields[AMOUNT] = normalize.normalize_identifier(typed.get(AMOUNT, ""))
    return fields


def parse_form(typed: Mapping[str, str]) -> pb.VerifyNoteRequest:
    """Return the request that the form holds.

    Raises:
        Refusal: FIELD_INVALID, with every invalid field, in the form's order.
    """
    fields = normalized_fields(typed)
    violations = {name: Violation.of(name, "field.empty") for name, value in fields.items() if not value}
    amount = fields.pop(AMOUNT)
    if rule := normalize.amount_rule(amount):
        violations.setdefault(AMOUNT, Violation.of(AMOUNT, rule))
    request = pb.VerifyNoteRequest(**fields, amount_rials=1 if AMOUNT in violations else int(amount))
    try:
        validation.validate(request)
    except Refusal as refusal:
        for violation in refusal.violations:
            violations.setdefault(violation.field, violation)
    if violations:
        raise Refusal(Reason.FIELD_INVALID, [violations[name] for name in FIELDS if name in violations])
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


def is_valid(typed: Mapping[str, str]) -> bool:
    """Whether the form holds a valid request."""
    try:
        parse_form(typed)
    except Refusal:
        return False
    return True
