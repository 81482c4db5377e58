"""Receipts on the page: kept as the command line keeps them, and checked by whoever brings them back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import Message

from estelam.inquiry.v1 import inquiry_pb2
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import archive
from estelam.receipts.receipt import InvalidReceipt, VerifiedReceipt, Verifier
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.verification import replies_of

MOST_REPLIES = 20
_MINISTRY = notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


@dataclass(frozen=True, slots=True)
class Kept:
    """A proven reply."""

    method: str
    request: Message
    proven: VerifiedReceipt

    @property
    def outcome(self) -> str:
        """YES, NO or DISCLOSED."""
        return inquiry_pb2.Outcome.Name(self.proven.entry.outcome).removeprefix("OUTCOME_")

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked, by field."""
        return {field.name: value for field, value in self.request.ListFields()}


def lines_of(request: pb.VerifyNoteRequest, reply: pb.VerifyNoteResponse) -> str:
    """What is kept of *reply*: a line for each of the ministry's replies that it was made of."""
    return b"".join(archive.encode(archive.ReceiptRecord(*proof)) for proof in replies_of(request, reply)).decode(
        "ascii"
    )


def check(text: str, keys: Mapping[str, Ed25519PublicKey]) -> Sequence[Kept]:
    """Every reply that *text* keeps, proven.

    Raises:
        InvalidReceipt: one of them is not, or there is none.
    """
    lines = [line.strip() + "\n" for line in text.splitlines() if line.strip()]
    if not 0 < len(lines) <= MOST_REPLIES:
        raise InvalidReceipt("the file is empty, or too long")
    verifier = Verifier(keys)
    return [_proven(line, verifier) for line in lines]


def _proven(line: str, verifier: Verifier) -> Kept:
    item = archive.decode(line.encode("utf-8"))
    service, _, name = item.method.partition("/")
    # The ministry's key proves nothing of another's methods.
    if service != _MINISTRY:
        raise InvalidReceipt("the receipt is of another service")
    return Kept(name, item.request, verifier.verify(item.method, item.request, item.reply))
