"""An inquiry, and the validation of its metadata and request."""

import re
import time
import unicodedata
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import protovalidate
import uuid_utils
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from estelam.core.errors import Reason
from estelam.core.rule_texts import RULE_TEXTS
from estelam.inquiry.v1 import inquiry_pb2 as pb

from .identity import Caller
from .refusal import Refused

PURPOSES = {"x-inquiry-id": "correlation", "x-case-reference": "case_reference", "x-operator": "operator"}
"""Metadata keys, and the fields of an entry that hold their keyed hashes."""
_NONCE = re.compile(r"[0-9A-Za-z_-]{22,64}")
_PURPOSE = re.compile(r"(?:[0-9A-Za-z._~:/-]|%[0-9A-Fa-f]{2})+")
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}


@dataclass(frozen=True)
class Answer:
    """The outcome to record and the reply."""

    outcome: pb.Outcome.ValueType
    reply: Any


@dataclass(frozen=True)
class Method:
    """A method of a contract and the function that answers it."""

    name: str
    """package.Service/Method"""
    request: type[Message]
    find: Callable[["Inquiry"], Awaitable[Answer]]
    subjects: Callable[[Any], Sequence[tuple[str, str]]]
    agency: Callable[[Any], str]
    disclosed: Callable[[Any], Sequence[tuple[str, str]]] = lambda _reply: ()


@dataclass
class Inquiry:
    """An inquiry in progress."""

    method: Method
    caller: Caller
    seconds: float
    """Time limit of the inquiry."""
    id: uuid_utils.UUID = field(default_factory=uuid_utils.uuid7)
    received_at: float = field(default_factory=time.monotonic)
    purposes: dict[str, str] = field(default_factory=dict)
    """Values by metadata key, as they were sent."""
    nonce: str = ""
    request: Any = None


def purpose_text(value: str) -> str | None:
    """Return the text that *value* encodes, or None if it is none."""
    if not _PURPOSE.fullmatch(value):
        return None
    try:
        text = unicodedata.normalize("NFC", unquote_to_bytes(value).decode())
    except UnicodeDecodeError:
        return None
    if any(unicodedata.category(each) in _INVISIBLE and each not in "\u200c\u200d" for each in text):
        return None
    return text if 1 <= len(text) <= 64 and text.strip() else None


def parse_purposes(metadata: Iterable[tuple[str, str | bytes]], required_metadata: Sequence[str]) -> dict[str, str]:
    """Parse and validate the purpose metadata."""
    found: dict[str, str] = {}
    for key, value in metadata:
        if key not in PURPOSES:
            continue
        if key in found or not isinstance(value, str) or purpose_text(value) is None:
            raise Refused(Reason.METADATA_MALFORMED, [_violation(key, "metadata.form")])
        found[key] = value
    for key in required_metadata:
        if key not in found:
            raise Refused(Reason.METADATA_REQUIRED, [_violation(key, "metadata.required")])
    return found


def parse_nonce(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Parse and validate the caller's nonce; it is empty if none was sent."""
    values = [str(value) for key, value in metadata if key == "x-nonce"]
    if len(values) > 1 or not all(map(_NONCE.fullmatch, values)):
        raise Refused(Reason.METADATA_MALFORMED, [_violation("x-nonce", "metadata.nonce")])
    return "".join(values)


def _violation(key: str, rule: str) -> tuple[str, str, str]:
    return key, rule, RULE_TEXTS[rule].en


def parse_request(kind: type[Message], body: bytes | None) -> Message:
    """Parse *body* and validate it by the contract's rules."""
    if body is None:
        raise Refused(Reason.REQUEST_MALFORMED)
    if len(body) > 4096:
        raise Refused(Reason.REQUEST_TOO_LARGE)
    try:
        message = kind.FromString(body)
    except DecodeError:
        raise Refused(Reason.REQUEST_MALFORMED) from None
    if len(UnknownFieldSet(message)) > 0:
        raise Refused(Reason.FIELD_UNKNOWN)
    violations = [
        (_path(each.proto), each.proto.rule_id, each.proto.message)
        for each in protovalidate.collect_violations(message)
    ]
    if violations:
        raise Refused(Reason.FIELD_INVALID, violations)
    return message


def _path(violation: Any) -> str:
    """Return the name of the invalid field."""
    return ".".join(part.field_name for part in violation.field.elements)
