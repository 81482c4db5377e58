"""Reads a request's body with limits on size and time, and parses it by proto3's JSON mapping."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request

from estelam.core import validation
from estelam.core.errors import Reason, Refusal, Violation

MAX_JSON_BYTES = 8192
"""The contract's 4096 bytes, with room for JSON's names and quotes."""
BODY_TIMEOUT_SECONDS = 10.0
MAX_VIOLATIONS = 20
"""A refusal names so many of the keys that are wrong."""
MAX_KEY_CHARACTERS = 64
"""Of a longer unknown key, a refusal repeats the beginning."""
_UNKNOWN = "field.unknown"
_TYPE_RULES = {FieldDescriptor.CPPTYPE_STRING: "field.text", FieldDescriptor.CPPTYPE_INT64: "field.digits"}
"""The rule that a value of a wrong JSON type violates, by the field's type."""
_REPEATED = "field.repeated"
_MALFORMED = {_REPEATED, *_TYPE_RULES.values()}


async def read_body(request: Request, limit: int) -> bytes | None:
    """Return the body; of a longer one than *limit* bytes, slightly more than *limit*, for the caller to refuse.

    None if it does not arrive in time.
    """
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            async for part in request.stream():
                received += part
                if len(received) > limit:
                    break
    except (TimeoutError, ClientDisconnect):
        return None
    return bytes(received)


def from_json(kind: type[Message], text: bytes) -> Message:
    """Parse and validate a message of *kind* from JSON, as `validation.parse_request` does from bytes.

    Raises:
        Refusal: REQUEST_TOO_LARGE, REQUEST_MALFORMED, FIELD_UNKNOWN or FIELD_INVALID; the last three name each key that
            is wrong, unless the text is not a JSON object.
    """
    if len(text) > MAX_JSON_BYTES:
        raise Refusal(Reason.REQUEST_TOO_LARGE)
    if not text.lstrip().startswith(b"{"):  # json_format accepts an empty list as an empty message
        raise Refusal(Reason.REQUEST_MALFORMED)
    if violations := list(islice(_violations(kind, text), MAX_VIOLATIONS)):
        is_malformed = any(found.rule in _MALFORMED for found in violations)
        raise Refusal(Reason.REQUEST_MALFORMED if is_malformed else Reason.FIELD_UNKNOWN, violations)
    message = kind()
    try:
        json_format.Parse(text, message)
    except (ValueError, json_format.ParseError, RecursionError):
        raise Refusal(Reason.REQUEST_MALFORMED) from None
    return validation.parse_request(kind, message.SerializeToString(deterministic=True))


def key_of(kind: type[Message], field: str, text: bytes) -> str:
    """Return the JSON key of a *field* of *kind*: its own name if *text* has that, else its lowerCamelCase name.

    A name that is no field of *kind* is returned unchanged.
    """
    descriptor = kind.DESCRIPTOR.fields_by_name.get(field)
    if descriptor is None:
        return field
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        written = {}
    return field if field in written else str(descriptor.json_name)


def _violations(kind: type[Message], text: bytes) -> Iterator[Violation]:
    """Yield what is wrong with each key of the JSON object *text*: unknown, given twice, or of a wrong type.

    If there is such a key, also the rules of the contract that the other fields violate: the caller sees all at once.
    """
    try:
        written: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return
    fields = {name: field for field in kind.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    counts = Counter(fields[key].name for key, _ in written if key in fields)
    wrong, others = set(), {}
    for key, value in written:
        if (field := fields.get(key)) is None:
            shown = key[:MAX_KEY_CHARACTERS].encode("utf-8", "backslashreplace").decode()
            yield Violation.of(shown, _UNKNOWN)
            wrong.add(shown)
        elif counts[field.name] > 1:
            if field.name not in wrong:
                yield Violation.of(field.name, _REPEATED)
            wrong.add(field.name)
        elif not _is_readable(kind, field.name, value):
            yield Violation.of(field.name, _TYPE_RULES[field.cpp_type])
            wrong.add(field.name)
        else:
            others[field.name] = value
    if wrong:
        rules = validation.violations(json_format.ParseDict(others, kind()))
        yield from (found for found in rules if found.field not in wrong)


def _is_readable(kind: type[Message], field: str, value: Any) -> bool:
    # json_format rounds numbers with a point or an exponent, and takes all that int() does, as "1_000" and "۵".
    if kind.DESCRIPTOR.fields_by_name[field].cpp_type == FieldDescriptor.CPPTYPE_INT64 and not (
        type(value) is int or (isinstance(value, str) and re.fullmatch("-?[0-9]+", value))
    ):
        return False
    try:
        json_format.ParseDict({field: value}, kind())
    except (ValueError, json_format.ParseError):
        return False
    return True
