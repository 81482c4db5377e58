"""Receipts in the web UI: downloaded in the command line's archive format; verified when uploaded, as PDF too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

from google.protobuf.message import Message
from markupsafe import Markup

from estelam.core.keys import VerifyingKey
from estelam.presentation.qr import qr_code
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import archive
from estelam.receipts.checkpoint import Checkpoint, organization_of
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.receipt import VerifiedReceipt, Verifier
from estelam.setad.v1 import note_verification_pb2 as pb
from sataad_adapter.verification import ministry_replies

MAX_REPLIES = 20
_MINISTRY = notes.DESCRIPTOR.services_by_name["PromissoryNoteInquiryService"].full_name


@dataclass(frozen=True, slots=True)
class CheckpointCode:
    """The checkpoint of a receipt, for people who compare it, and as a QR code for a telephone."""

    text: str
    """ORIGIN SIZE:ROOT, with the root in hexadecimal."""
    svg: Markup

    @classmethod
    def of(cls, head: Checkpoint) -> "CheckpointCode":
        """Return the code of *head*."""
        text = f"{head.origin} {head}"
        return cls(text, Markup(qr_code(text)))  # noqa: S704 - it is made of squares


@dataclass(frozen=True, slots=True)
class VerifiedReply:
    """A reply of the ministry with its verified receipt."""

    method: str
    request: Message
    receipt: VerifiedReceipt

    @property
    def outcome(self) -> str:
        """YES, NO or DISCLOSED."""
        return self.receipt.outcome

    @property
    def signer(self) -> str:
        """The legal id of the organisation whose key signed the checkpoint."""
        return organization_of(self.receipt.checkpoint.origin)

    @property
    def checkpoint(self) -> CheckpointCode:
        """The checkpoint that the receipt belongs to."""
        return CheckpointCode.of(self.receipt.checkpoint)

    @property
    def facts(self) -> dict[str, Any]:
        """The request's fields by name."""
        return {field.name: value for field, value in self.request.ListFields()}


def archive_lines(request: pb.VerifyNoteRequest, reply: pb.VerifyNoteResponse) -> str:
    """Return the archive of *reply*: one line for each of the ministry's replies in it."""
    records = (archive.ReceiptRecord(*parts) for parts in ministry_replies(request, reply))
    return b"".join(map(archive.encode, records)).decode("ascii")


def is_pdf(content: bytes) -> bool:
    """Return whether a file with this *content* is a PDF, to be read as a certificate."""
    return content.startswith(b"%PDF-")


def verify_archive(text: str, keys: Mapping[str, VerifyingKey]) -> Sequence[VerifiedReply]:
    """Verify every reply in the archive *text*.

    Raises:
        InvalidReceipt: a receipt is not valid or can't be verified here, or there is none.
    """
    records = list(islice(archive.parse_archive(BytesIO(text.encode("utf-8"))), MAX_REPLIES + 1))
    if len(records) > MAX_REPLIES:
        raise InvalidReceipt(ReceiptProblem.TOO_LONG)
    verifier = Verifier(keys)
    return [_verify_record(record, verifier) for record in records]


def verify_certificate(content: bytes, keys: Mapping[str, VerifyingKey]) -> Sequence[VerifiedReply]:
    """Verify every reply that is attached to a certificate, a PDF, and that its pages are those made of them.

    Raises:
        InvalidReceipt: a receipt is not valid or can't be verified here, there is none, the pages are others, or the
            extra `pdf` is not installed.
    """
    try:
        from estelam.cli.certificate import certificate  # noqa: PLC0415 - needs the extra pdf
    except ModuleNotFoundError:
        raise InvalidReceipt(ReceiptProblem.PDF_NOT_READ) from None
    paper, verifier = certificate.parse(content), Verifier(keys)
    verified = [_verify_record(record, verifier) for record in paper.replies]
    if not paper.shows([(record, reply.receipt) for record, reply in zip(paper.replies, verified, strict=True)]):
        raise InvalidReceipt(ReceiptProblem.OTHER_PAGES)
    return verified


def _verify_record(record: archive.ReceiptRecord, verifier: Verifier) -> VerifiedReply:
    service, _, name = record.method.partition("/")
    # The ministry's key signs for its own methods only.
    if service != _MINISTRY:
        raise InvalidReceipt(ReceiptProblem.OTHER_SERVICE)
    return VerifiedReply(name, record.request, verifier.verify(record.method, record.request, record.reply))
