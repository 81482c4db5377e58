"""Checks receipts: each must prove its reply, and all of an instance must belong to one ledger."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.message import Message

from conformance.contract import service_name
from conformance.mismatch import PROVEN, RECORDED, UNDISCLOSED, Mismatch
from conformance.target import Target
from estelam.core.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import VerifiedReceipt, Verifier

CLOCK_TOLERANCE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ReceiptedReply:
    """A reply with one receipt, and its request."""

    method: str
    """Full name: package.Service/Method."""
    request: Message
    reply: Message


@dataclass(frozen=True, slots=True)
class ExpectedEntry:
    """What the ledger entry of a receipt must hold about the call."""

    ledger: str
    """The instance that recorded the entry; each has its own ledger."""
    organization: str
    nonce: bytes | None
    """The hash of the caller's nonce, empty if it sent none; None: the entry's is of a call that it did not make."""
    secrets: frozenset[bytes]
    at: datetime | None
    """The target's time, if the kit controls its clock."""


@dataclass(slots=True)
class _Ledger:
    """What was received from one ledger."""

    indexes: set[int] = field(default_factory=set)
    roots: dict[int, bytes] = field(default_factory=dict)
    """The root of the tree of each size."""
    keys_commitments: set[bytes] = field(default_factory=set)


def receipted_replies(method: str, request: Message, reply: Message) -> list[ReceiptedReply]:
    """Split a reply into replies with one receipt each: VerifyNote's consists of two of the ministry's."""
    if method.rpartition("/")[2] != "VerifyNote":
        return [ReceiptedReply(method, request, reply)]
    ministry = service_name("promissory")
    check = notes.CheckNoteRequest()
    for name in check.DESCRIPTOR.fields_by_name:
        setattr(check, name, getattr(request, name))
    checked = notes.CheckNoteResponse(answer=reply.answer, receipt=reply.check_receipt)  # type: ignore[attr-defined]
    replies = [ReceiptedReply(f"{ministry}/CheckNote", check, checked)]
    if reply.HasField("parties_receipt"):
        parties_request = notes.GetNotePartiesRequest(
            serial=request.serial,  # type: ignore[attr-defined]
            executive_agency_id=request.executive_agency_id,  # type: ignore[attr-defined]
        )
        parties = notes.GetNotePartiesResponse(
            obligor=reply.obligor,  # type: ignore[attr-defined]
            beneficiary=reply.beneficiary,  # type: ignore[attr-defined]
            receipt=reply.parties_receipt,  # type: ignore[attr-defined]
        )
        replies.append(ReceiptedReply(f"{ministry}/GetNoteParties", parties_request, parties))
    return replies


class ReceiptChecker:
    """Verifies receipts, and compares each with all others of the run."""

    def __init__(self, target: Target) -> None:
        self._verifiers: Mapping[str, Verifier] = target.verifiers
        self._lock = threading.Lock()
        self._ledgers: dict[str, _Ledger] = {}
        self.answer_times: list[datetime] = []
        """The time of each reply with a valid receipt, by the target's clock."""

    def check(self, reply: ReceiptedReply, expected: ExpectedEntry) -> Iterator[Mismatch]:
        """Yield what is wrong with the receipt of *reply*."""
        verifier = self._verifiers[reply.method.split(".")[1]]
        try:
            verified = verifier.verify(reply.method, reply.request, reply.reply)
        except InvalidReceipt as error:
            yield Mismatch("a receipt that proves the reply", str(error), PROVEN)
            return
        yield from _check_entry(verified.entry, reply, expected)
        yield from self._check_ledger(verified, expected)

    def _check_ledger(self, verified: VerifiedReceipt, expected: ExpectedEntry) -> Iterator[Mismatch]:
        entry, head = verified.entry, verified.checkpoint
        with self._lock:
            ledger = self._ledgers.setdefault(expected.ledger, _Ledger())
            is_duplicate = verified.index in ledger.indexes
            is_unsalted = entry.keys_commitment in ledger.keys_commitments
            ledger.indexes.add(verified.index)
            ledger.keys_commitments.add(entry.keys_commitment)
            same = ledger.roots.setdefault(head.size, head.root)
            self.answer_times.append(to_datetime(entry.answered_at_micros))
        if is_duplicate:
            yield Mismatch(
                "a new entry in the ledger", f"entry {verified.index}, which an earlier receipt has", RECORDED
            )
        if is_unsalted:
            wrong = f"entry {verified.index} with the commitment of another entry"
            yield Mismatch("search keys with a salt of their own", wrong, UNDISCLOSED)
        if same != head.root:
            wrong = f"a tree of {head.size} entries with a different root than before"
            yield Mismatch("one tree of each size", wrong, RECORDED)


def _check_entry(entry: pb.Entry, reply: ReceiptedReply, expected: ExpectedEntry) -> Iterator[Mismatch]:
    if entry.caller != expected.organization:
        wanted = f"caller {expected.organization or '(none)'} in the entry"
        yield Mismatch(wanted, f"caller {entry.caller!r}", RECORDED)
    agency = getattr(reply.request, "executive_agency_id", "")
    if entry.agency != agency:
        yield Mismatch(f"agency {agency!r} in the entry", f"agency {entry.agency!r}", RECORDED)
    if expected.nonce is not None and entry.nonce != expected.nonce:
        wanted = f"nonce {expected.nonce.hex()}, the SHA-256 of x-nonce," if expected.nonce else "no nonce"
        yield Mismatch(f"{wanted} in the entry", f"nonce {entry.nonce.hex() or '(none)'}", RECORDED)
    if UUID(bytes=entry.inquiry_id).version != 7:
        yield Mismatch("an inquiry_id that is a UUID of version 7", str(UUID(bytes=entry.inquiry_id)), RECORDED)
    answered = to_datetime(entry.answered_at_micros)
    if expected.at is not None and abs(answered - expected.at) > CLOCK_TOLERANCE:
        yield Mismatch(
            f"answered_at by the target's clock, about {expected.at:%Y-%m-%dT%H:%M:%SZ}",
            f"{answered:%Y-%m-%dT%H:%M:%SZ}",
            RECORDED,
        )
    if len(entry.keys_commitment) != hashlib.sha256().digest_size:
        wrong = f"{len(entry.keys_commitment)} bytes"
        yield Mismatch("a keys_commitment of 32 bytes in the entry", wrong, UNDISCLOSED)
    rest = pb.Entry()
    rest.CopyFrom(entry)
    for name in ("caller", "agency", "method"):
        rest.ClearField(name)
    if any(secret in rest.SerializeToString() for secret in expected.secrets):
        yield Mismatch("no identifier of the request in the entry", "one in plain text", UNDISCLOSED)
