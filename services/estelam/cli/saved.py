"""Replies kept in a file with their receipts, for a check years later. It has one form: any other byte is found."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from estelam.receipt import InvalidReceipt, canonical

FORMAT = "estelam-saved-replies/1"


@dataclass(frozen=True, slots=True)
class SavedReply:
    """A reply that carries a receipt, and the request it answers."""

    method: str
    request: Message
    reply: Message


def save(path: Path, replies: Sequence[SavedReply]) -> None:
    """Write *replies* to *path*."""
    path.write_bytes(_text(replies).encode("ascii"))


def read(path: Path) -> list[SavedReply]:
    """The replies that *path* holds.

    Raises:
        InvalidReceipt: the file is not exactly as `save` writes it.
    """
    try:
        # Read as bytes: a text file's other ends of line would pass for the one kind that is written here.
        text = path.read_bytes().decode("ascii")
        kept = json.loads(text)
        replies = [_parse(item) for item in kept["replies"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DecodeError):
        raise InvalidReceipt("the file is damaged") from None
    if not replies or text != _text(replies):
        raise InvalidReceipt("the file is not as it was saved")
    return replies


def _text(replies: Sequence[SavedReply]) -> str:
    kept = [{"method": item.method, "request": _encode(item.request), "reply": _encode(item.reply)} for item in replies]
    return json.dumps({"format": FORMAT, "replies": kept}, indent=2) + "\n"


def _parse(item: dict[str, Any]) -> SavedReply:
    service, _, name = item["method"].partition("/")
    method = Default().FindServiceByName(service).methods_by_name[name]
    return SavedReply(
        item["method"],
        GetMessageClass(method.input_type).FromString(base64.b64decode(item["request"])),
        GetMessageClass(method.output_type).FromString(base64.b64decode(item["reply"])),
    )


def _encode(message: Message) -> str:
    return base64.b64encode(canonical(message)).decode("ascii")
