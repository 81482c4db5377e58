"""Validation of requests by the rules in the contract (protovalidate), for clients and servers alike."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import protovalidate
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from estelam.core import field_rules
from estelam.core.errors import Reason, Refusal, Violation

MAX_REQUEST_BYTES = 4096

_PERSON_FORM = "string.person_id.form"
_NATIONAL_NUMBER_DIGITS, _MAX_ZEROS = 10, 2

M = TypeVar("M", bound=Message)


def parse_request(kind: type[M], wire: bytes) -> M:
    """Parse and validate a serialized message of *kind*.

    Raises:
        Refusal: REQUEST_TOO_LARGE; REQUEST_MALFORMED; FIELD_UNKNOWN, since an ignored field might change the meaning of
            the request; or FIELD_INVALID with each violation.
    """
    if len(wire) > MAX_REQUEST_BYTES:
        raise Refusal(Reason.REQUEST_TOO_LARGE)
    try:
        message = kind.FromString(wire)
    except DecodeError:
        raise Refusal(Reason.REQUEST_MALFORMED) from None
    if len(UnknownFieldSet(message)):
        raise Refusal(Reason.FIELD_UNKNOWN)
    if not _predicate(cast("Any", kind))(message):
        validate(message)
    return message


@cache
def _predicate(kind: type[Message]) -> Callable[[Message], bool]:
    return field_rules.compile_predicate(kind)


def validate(message: Message) -> None:
    """Check *message* against every rule of its contract.

    Raises:
        Refusal: FIELD_INVALID with each violation.
    """
    if found := violations(message):
        raise Refusal(Reason.FIELD_INVALID, found)


def violations(message: Message) -> list[Violation]:
    """Return each rule of its contract that *message* violates."""
    return [_violation(found) for found in protovalidate.collect_violations(message)]


def field_violation(message: type[Message], field: str, value: str | int) -> str | None:
    """Return the contract's message for the first rule of *field* that *value* violates; None if it is valid."""
    found = violations(message(**{field: value}))
    return next((violation.description for violation in found if violation.field == field), None)


def lacks_zeros(message: type[Message], field: str, value: str) -> bool:
    """Return whether *value* is no person's id, but a national number with the leading zeros that a spreadsheet drops.

    No national number begins with more than two. It must not be completed: the check digit leaves other readings.
    """
    zeros = _NATIONAL_NUMBER_DIGITS - len(value)
    if not (value.isascii() and value.isdigit() and 1 <= zeros <= _MAX_ZEROS):
        return False
    if all(found.rule != _PERSON_FORM for found in violations(message(**{field: value})) if found.field == field):
        return False
    return field_violation(message, field, value.zfill(_NATIONAL_NUMBER_DIGITS)) is None


def _violation(found: protovalidate.Violation) -> Violation:
    proto = found.proto
    elements = proto.field.elements if proto.field else ()
    return Violation(".".join(element.field_name for element in elements), proto.rule_id, proto.message)
