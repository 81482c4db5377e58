"""Checks receipts: each must prove its reply, and all of an instance must belong to one ledger."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from google.protobuf.message import Message

from conformance.case import Instance
from conformance.contract import service_name
from conformance.mismatch import PROVEN, RECORDED, UNDISCLOSED, Mismatch
from conformance.run_invariants import CLOCK_TOLERANCE, LedgerHistory, Salts
from conformance.target import Target
from estelam.core.clock import to_datetime
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import Verifier


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
    callers_nonce: bytes
    """The hash of the caller's nonce, which a call on its behalf must not have; empty if it sent none."""
    secrets: frozenset[bytes]
    at: datetime | None
    """The target's time, if the kit controls its clock."""


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
        self._ledgers: dict[str, LedgerHistory] = {}
        self._salts = Salts()
        self.answer_times: list[datetime] = []
        """The time of each reply with a valid receipt, by the target's clock."""

    def check(self, reply: ReceiptedReply, expected: ExpectedEntry) -> Iterator[Mismatch]:
        """Yield what is wrong with the receipt of *reply*."""
        is_kits = expected.ledger == Instance.SETAD_DECEIVED
        verifier = self._verifiers["ministry" if is_kits else reply.method.split(".")[1]]
        if not reply.reply.HasField("receipt"):
            yield Mismatch("a receipt", "none", PROVEN)
            return
        receipt: pb.Receipt = reply.reply.receipt  # type: ignore[attr-defined]
        try:
            verified = verifier.verify(reply.method, reply.request, reply.reply)
        except InvalidReceipt as error:
            yield Mismatch("a receipt that proves the reply", str(error), PROVEN)
            return
        yield from _check_entry(verified.entry, reply, expected)
        yield from self._salts.check(receipt, verified.entry)
        with self._lock:
            self.answer_times.append(to_datetime(verified.entry.answered_at_micros))
            found = list(self._ledgers.setdefault(expected.ledger, LedgerHistory()).add(verified, receipt))
        yield from found


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
    if expected.nonce is None and expected.callers_nonce and entry.nonce == expected.callers_nonce:
        yield Mismatch("a nonce of the adapter's own in the entry", "the caller's", RECORDED)
    for field, value in entry.ListFields():
        if field.name in {"refusal", "notice", "annuls"}:
            yield Mismatch(f"no {field.name} in the entry of an answer", f"{field.name} {value!r}"[:80], RECORDED)
    yield from _check_id_and_time(entry, expected)
    yield from _check_disclosure(entry, expected)


def _check_id_and_time(entry: pb.Entry, expected: ExpectedEntry) -> Iterator[Mismatch]:
    if UUID(bytes=entry.inquiry_id).version != 7:
        yield Mismatch("an inquiry_id that is a UUID of version 7", str(UUID(bytes=entry.inquiry_id)), RECORDED)
    answered = to_datetime(entry.answered_at_micros)
    if expected.at is not None and abs(answered - expected.at) > CLOCK_TOLERANCE:
        yield Mismatch(
            f"answered_at by the target's clock, about {expected.at:%Y-%m-%dT%H:%M:%SZ}",
            f"{answered:%Y-%m-%dT%H:%M:%SZ}",
            RECORDED,
        )


def _check_disclosure(entry: pb.Entry, expected: ExpectedEntry) -> Iterator[Mismatch]:
    if len(entry.keys_commitment) != hashlib.sha256().digest_size:
        wrong = f"{len(entry.keys_commitment)} bytes"
        yield Mismatch("a keys_commitment of 32 bytes in the entry", wrong, UNDISCLOSED)
    rest = pb.Entry()
    rest.CopyFrom(entry)
    for name in ("caller", "agency", "method"):
        rest.ClearField(name)
    if any(secret in rest.SerializeToString() for secret in expected.secrets):
        yield Mismatch("no identifier of the request in the entry", "one in plain text", UNDISCLOSED)
