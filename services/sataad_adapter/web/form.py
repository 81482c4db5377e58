"""What an officer typed: folded as people write, checked by the contract's own rules, field by field."""

import re
from collections.abc import Mapping

from estelam.core import normalize, validation
from estelam.core.errors import Reason, Refusal, Violation
from estelam.setad.v1 import note_verification_pb2 as pb

FIELDS = tuple(field.name for field in pb.VerifyNoteRequest.DESCRIPTOR.fields)
AMOUNT = "amount_rials"
EMPTY_RULE, AMOUNT_RULE = "page.empty", "page.amount"

_MAX_AMOUNT = 2**63 - 1
_PLAIN = re.compile(r"[0-9A-Za-z-]{0,32}")


def folded(typed: Mapping[str, str]) -> dict[str, str]:
    """Each field as the contract takes it, as far as it can be."""
    found = {name: normalize.normalize_digits(typed.get(name, "")) for name in FIELDS}
    found["executive_agency_id"] = normalize.normalize_identifier(typed.get("executive_agency_id", ""))
    try:
        found[AMOUNT] = str(normalize.parse_amount(typed.get(AMOUNT, "")))
    except ValueError:
        found[AMOUNT] = normalize.normalize_identifier(typed.get(AMOUNT, ""))
    return found


def kept(typed: Mapping[str, str]) -> dict[str, str]:
    """What the form shows again: what has at least the look of an identifier; nothing else is sent back."""
    return {name: value if _PLAIN.fullmatch(value) else "" for name, value in folded(typed).items()}


def asked(typed: Mapping[str, str]) -> pb.VerifyNoteRequest:
    """The inquiry that was typed.

    Raises:
        Refusal: FIELD_INVALID, with every field that is wrong, in the form's order.
    """
    plain = folded(typed)
    wrong = {name: Violation(name, EMPTY_RULE, "is empty") for name, value in plain.items() if not value}
    amount = plain.pop(AMOUNT)
    if not (amount.isascii() and amount.isdigit() and 0 < int(amount[:20]) <= _MAX_AMOUNT):
        wrong.setdefault(AMOUNT, Violation(AMOUNT, AMOUNT_RULE, "is not a whole number of rials"))
    request = pb.VerifyNoteRequest(**plain, amount_rials=1 if AMOUNT in wrong else int(amount))
    try:
        validation.validate(request)
    except Refusal as refusal:
        for violation in refusal.violations:
            wrong.setdefault(violation.field, violation)
    if wrong:
        raise Refusal(Reason.FIELD_INVALID, [wrong[name] for name in FIELDS if name in wrong])
    return request
