"""A request's body: read within its bounds, and from JSON into the contract's message by proto3's own mapping."""

import asyncio

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.requests import ClientDisconnect, Request

from estelam.core import validation
from estelam.core.errors import Reason, Refusal

MAX_JSON_BYTES = 8192
"""A request's 4096 bytes, with room for JSON's names and quotes."""
BODY_SECONDS = 10.0


async def body(request: Request, most: int) -> bytes:
    """The whole body, or its first bytes where it has more than *most*: who reads it then refuses it.

    Raises:
        Refusal: REQUEST_MALFORMED, where it does not arrive.
    """
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                read += part
                if len(read) > most:
                    break
    except (TimeoutError, ClientDisconnect):
        raise Refusal(Reason.REQUEST_MALFORMED) from None
    return bytes(read)


def from_json(kind: type[Message], text: bytes) -> Message:
    """A message of *kind* that keeps every rule of its contract: what `validation.parse` is for bytes.

    Raises:
        Refusal: REQUEST_TOO_LARGE, REQUEST_MALFORMED, FIELD_UNKNOWN or FIELD_INVALID.
    """
    if len(text) > MAX_JSON_BYTES:
        raise Refusal(Reason.REQUEST_TOO_LARGE)
    if not text.lstrip().startswith(b"{"):  # the mapping takes an empty list for an empty message
        raise Refusal(Reason.REQUEST_MALFORMED)
    message = kind()
    try:
        json_format.Parse(text, message)
    except (ValueError, json_format.ParseError, RecursionError):
        raise Refusal(_fault(kind, text)) from None
    return validation.parse_request(kind, message.SerializeToString(deterministic=True))


def _fault(kind: type[Message], text: bytes) -> Reason:
    try:
        json_format.Parse(text, kind(), ignore_unknown_fields=True)
    except (ValueError, json_format.ParseError, RecursionError):
        return Reason.REQUEST_MALFORMED
    return Reason.FIELD_UNKNOWN
