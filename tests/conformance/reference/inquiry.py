"""One inquiry: what was asked, by whom, for what; and the two checks of what a caller sends."""

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import protovalidate
import uuid_utils
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb

from .identity import Caller
from .words import Declined

PURPOSES = {"x-inquiry-id": "correlation", "x-case-reference": "case_reference", "x-operator": "operator"}
"""Metadata's keys, and the fields of an entry that hold their keyed hashes."""
_PURPOSE = re.compile(r"[0-9A-Za-z._:/-]{1,64}")


@dataclass(frozen=True)
class Answer:
    """What was found: the reply, and as what it is recorded."""

    outcome: pb.Outcome.ValueType
    reply: Any


@dataclass(frozen=True)
class Method:
    """A method of a contract, and how a service answers it."""

    name: str
    """package.Service/Method"""
    request: type[Message]
    find: Callable[["Inquiry"], Awaitable[Answer]]
    subjects: Callable[[Any], Sequence[tuple[str, str]]]
    agency: Callable[[Any], str]


@dataclass
class Inquiry:
    """One inquiry under way."""

    method: Method
    caller: Caller
    seconds: float
    """How much time there is for it."""
    id: uuid_utils.UUID = field(default_factory=uuid_utils.uuid7)
    arrived: float = field(default_factory=time.monotonic)
    purposes: dict[str, str] = field(default_factory=dict)
    """By the metadata's keys."""
    request: Any = None


def purposes(metadata: Iterable[tuple[str, str | bytes]], demands: Sequence[str]) -> dict[str, str]:
    """What the call is said to be for."""
    found: dict[str, str] = {}
    for key, value in metadata:
        if key not in PURPOSES:
            continue
        if key in found or not isinstance(value, str) or not _PURPOSE.fullmatch(value):
            wanted = "must be given once, as 1 to 64 of 0-9 A-Z a-z . _ : / -"
            raise Declined(Reason.METADATA_MALFORMED, [(key, "metadata.form", wanted)])
        found[key] = value
    for key in demands:
        if key not in found:
            raise Declined(Reason.METADATA_REQUIRED, [(key, "metadata.required", "is demanded by the grant")])
    return found


def well_formed(kind: type[Message], wire: bytes | None) -> Message:
    """The message that *wire* holds, which keeps every rule of its contract."""
    if wire is None:
        raise Declined(Reason.REQUEST_MALFORMED)
    if len(wire) > 4096:
        raise Declined(Reason.REQUEST_TOO_LARGE)
    try:
        message = kind.FromString(wire)
    except DecodeError:
        raise Declined(Reason.REQUEST_MALFORMED) from None
    if len(UnknownFieldSet(message)) > 0:
        raise Declined(Reason.FIELD_UNKNOWN)
    broken = [
        (_path(found.proto), found.proto.rule_id, found.proto.message)
        for found in protovalidate.collect_violations(message)
    ]
    if broken:
        raise Declined(Reason.FIELD_INVALID, broken)
    return message


def _path(violation: Any) -> str:
    """The name of the field that is wrong."""
    return ".".join(part.field_name for part in violation.field.elements)
