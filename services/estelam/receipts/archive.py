"""Replies kept with their receipts for a check years later, a JSON line each; a line that is not as saved is found."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from estelam.core.contract import UnknownMethodError, find_method
from estelam.receipts.receipt import InvalidReceipt, canonical

FORMAT = "estelam-saved-reply/2"
MAX_LINE = 65536


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A reply that carries a receipt, and the request it answers."""

    method: str
    request: Message
    reply: Message


def write_archive(path: Path, replies: Sequence[ReceiptRecord]) -> None:
    """Write *replies* to *path*."""
    path.write_bytes(b"".join(map(encode, replies)))


def read_archive(path: Path) -> Iterator[ReceiptRecord]:
    """The replies that *path* holds, one at a time, so that a file of any length is read in little memory.

    Raises:
        InvalidReceipt: the file is not exactly as it was saved.
    """
    with path.open("rb") as file:
        line = file.readline(MAX_LINE)
        if not line:
            raise InvalidReceipt("the file is empty")
        while line:
            yield decode(line)
            line = file.readline(MAX_LINE)


def encode(item: ReceiptRecord) -> bytes:
    """The one line that *item* is kept as, its end included."""
    kept = {"format": FORMAT, "method": item.method, "request": _encode(item.request), "reply": _encode(item.reply)}
    return (json.dumps(kept) + "\n").encode("ascii")


def decode(line: bytes) -> ReceiptRecord:
    """What *line* keeps.

    Raises:
        InvalidReceipt: it is not exactly as `to_line` makes it.
    """
    try:
        kept = json.loads(line)
        request, reply = _messages(kept["method"])
        item = ReceiptRecord(
            kept["method"],
            request.FromString(base64.b64decode(kept["request"])),
            reply.FromString(base64.b64decode(kept["reply"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DecodeError, UnknownMethodError):
        raise InvalidReceipt("the file is damaged") from None
    if line != encode(item):
        raise InvalidReceipt("the file is not as it was saved")
    return item


@cache
def _messages(name: str) -> tuple[type[Message], type[Message]]:
    found: Any = find_method(name)
    return GetMessageClass(found.input_type), GetMessageClass(found.output_type)


def _encode(message: Message) -> str:
    return base64.b64encode(canonical(message)).decode("ascii")
