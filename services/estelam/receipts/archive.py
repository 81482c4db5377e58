"""Receipt archives: receipts, which hold request and reply, one JSON line each, for verification years later."""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from estelam.core.contract import UnknownMethodError, find_method
from estelam.core.files import write_atomic
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.receipt import canonical

FORMAT = "estelam-receipt/1"
MAX_LINE = 65536
_BLANKS = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class ReceiptRecord:
    """A reply that carries a receipt, with its request."""

    method: str
    """package.Service/Method"""
    request: Message
    reply: Message


def write_archive(path: Path, replies: Sequence[ReceiptRecord]) -> None:
    """Create or replace *path* with *replies*; it is on the disk when this returns.

    Raises:
        OSError: the file can't be written; *path* is unchanged.
    """
    write_atomic(path, b"".join(map(encode, replies)), durable=True)


def read_archive(path: Path) -> Iterator[ReceiptRecord]:
    """Yield the records of *path* as `parse_archive` does."""
    with path.open("rb") as file:
        yield from parse_archive(file)


def parse_archive(file: BinaryIO) -> Iterator[ReceiptRecord]:
    """Yield the records of *file* one at a time, so that a file of any length needs little memory.

    Line ends of Windows, a missing last one, blank lines and blanks around a line are accepted: a copied text has them.

    Raises:
        InvalidReceipt: there is no record, or a line holds anything else than what `encode` writes.
    """
    is_empty = True
    while line := file.readline(MAX_LINE):
        if text := line.strip(_BLANKS):
            yield decode(text + b"\n")
            is_empty = False
    if is_empty:
        raise InvalidReceipt(ReceiptProblem.EMPTY)


def encode(item: ReceiptRecord) -> bytes:
    """Return the receipt of *item*, which holds the request and the reply, as one line with its line feed."""
    receipt = canonical(item.reply.receipt)  # type: ignore[attr-defined]
    fields = {"format": FORMAT, "receipt": base64.b64encode(receipt).decode("ascii")}
    return (json.dumps(fields) + "\n").encode("ascii")


def decode(line: bytes) -> ReceiptRecord:
    """Return the record in *line*.

    Raises:
        InvalidReceipt: the line is not exactly as `encode` writes it, or has no receipt.
    """
    try:
        text = json.loads(line)["receipt"]
        if text == "":
            raise InvalidReceipt(ReceiptProblem.ABSENT)
        receipt = pb.Receipt.FromString(base64.b64decode(text))
        method = pb.Entry.FromString(receipt.entry).method
        request_type, reply_type = _message_types(method)
        item = ReceiptRecord(method, request_type.FromString(receipt.request), reply_type.FromString(receipt.reply))
        item.reply.receipt.CopyFrom(receipt)  # type: ignore[attr-defined]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, DecodeError, UnknownMethodError):
        raise InvalidReceipt(ReceiptProblem.NOT_A_SAVED_REPLY) from None
    if line != encode(item):
        raise InvalidReceipt(ReceiptProblem.REFORMATTED)
    return item


@cache
def _message_types(name: str) -> tuple[type[Message], type[Message]]:
    method: Any = find_method(name)
    return GetMessageClass(method.input_type), GetMessageClass(method.output_type)
