"""Reads a request's body with limits on size and time, and parses it by proto3's JSON mapping."""

import asyncio
import json

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request

from estelam.core import validation
from estelam.core.errors import Reason, Refusal

MAX_JSON_BYTES = 8192
"""The contract's 4096 bytes, with room for JSON's names and quotes."""
BODY_TIMEOUT_SECONDS = 10.0


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; of a longer one than *limit* bytes, slightly more than *limit*, for the caller to refuse.

    Raises:
        Refusal: REQUEST_MALFORMED, if the body does not arrive in time.
    """
    received = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            async for part in request.stream():
                received += part
                if len(received) > limit:
                    break
    except (TimeoutError, ClientDisconnect):
        raise Refusal(Reason.REQUEST_MALFORMED) from None
    return bytes(received)


def from_json(kind: type[Message], text: bytes) -> Message:
    """Parse and validate a message of *kind* from JSON, as `validation.parse_request` does from bytes.

    Raises:
        Refusal: REQUEST_TOO_LARGE, REQUEST_MALFORMED, FIELD_UNKNOWN or FIELD_INVALID.
    """
    if len(text) > MAX_JSON_BYTES:
        raise Refusal(Reason.REQUEST_TOO_LARGE)
    if not text.lstrip().startswith(b"{"):  # json_format accepts an empty list as an empty message
        raise Refusal(Reason.REQUEST_MALFORMED)
    message = kind()
    try:
        json_format.Parse(text, message)
    except (ValueError, json_format.ParseError, RecursionError):
        raise Refusal(_parse_failure(kind, text)) from None
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


def _parse_failure(kind: type[Message], text: bytes) -> Reason:
    try:
        json_format.Parse(text, kind(), ignore_unknown_fields=True)
    except (ValueError, json_format.ParseError, RecursionError):
        return Reason.REQUEST_MALFORMED
    return Reason.FIELD_UNKNOWN
