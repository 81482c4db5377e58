"""Receipts under examination: each must prove its reply, and all that were seen must belong to one ledger."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from google.protobuf.message import Message

from conformance.contract import service_name
from conformance.target import Target
from estelam.core.clock import to_datetime
from estelam.core.model import PURPOSE_KEYS
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts.receipt import InvalidReceipt, VerifiedReceipt, Verifier, canonical

Found = tuple[str, str]
"""What was expected, and what was seen."""

CLOCK_TOLERANCE = timedelta(seconds=60)

# How many identifiers a request asks about.
_SUBJECTS = {"CheckNote": 3, "GetNoteParties": 1, "CheckByNationalId": 1, "CheckByTrackingId": 1}


@dataclass(frozen=True, slots=True)
class Proof:
    """A reply that carries one receipt, and the request that it answers."""

    method: str
    """Its full name: package.Service/Method."""
    request: Message
    reply: Message


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a receipt must tell of the call."""

    ledger: str
    """Which ledger the entry stands in: each instance keeps one of its own."""
    organization: str
    metadata: Mapping[str, str]
    secrets: frozenset[bytes]
    at: datetime | None
    """The target's time, where it is known."""


@dataclass(slots=True)
class _Ledger:
    """What was seen of one ledger."""

    entries: dict[int, bytes] = field(default_factory=dict)
    headers: dict[int, bytes] = field(default_factory=dict)


def parts(method: str, request: Message, reply: Message) -> list[Proof]:
    """The replies with a receipt each that a reply consists of: VerifyNote's is made of two of the ministry's."""
    if method.rpartition("/")[2] != "VerifyNote":
        return [Proof(method, request, reply)]
    asked, said, ministry = request, reply, service_name("promissory")
    check = notes.CheckNoteRequest()
    for name in check.DESCRIPTOR.fields_by_name:
        setattr(check, name, getattr(asked, name))
    checked = notes.CheckNoteResponse(answer=said.answer, receipt=said.check_receipt)  # type: ignore[attr-defined]
    made = [Proof(f"{ministry}/CheckNote", check, checked)]
    if said.HasField("parties_receipt"):
        wanted = notes.GetNotePartiesRequest(serial=asked.serial, executive_agency_id=asked.executive_agency_id)  # type: ignore[attr-defined]
        told = notes.GetNotePartiesResponse(
            obligor=said.obligor,  # type: ignore[attr-defined]
            beneficiary=said.beneficiary,  # type: ignore[attr-defined]
            receipt=said.parties_receipt,  # type: ignore[attr-defined]
        )
        made.append(Proof(f"{ministry}/GetNoteParties", wanted, told))
    return made


class Proofs:
    """Checks receipts, and remembers them for as long as the run lasts."""

    def __init__(self, target: Target) -> None:
        self._verifiers: Mapping[str, Verifier] = target.verifiers
        self._turn = threading.Lock()
        self._ledgers: dict[str, _Ledger] = {}
        self.answered: list[datetime] = []
        """When each proven reply was given, by the target's clock."""

    def faults(self, proof: Proof, told: Circumstances) -> Iterator[Found]:
        """What is wrong with a receipt."""
        verifier = self._verifiers[proof.method.split(".")[1]]
        try:
            proven = verifier.verify(proof.method, proof.request, proof.reply)
        except InvalidReceipt as error:
            yield "a receipt that proves the reply", str(error)
            return
        yield from _faults_of_entry(proven.entry, proof, told)
        yield from self._remembered(proven, proof, told)

    def _remembered(self, proven: VerifiedReceipt, proof: Proof, told: Circumstances) -> Iterator[Found]:
        entry, block = proven.entry, proven.block
        receipt: pb.Receipt = proof.reply.receipt  # type: ignore[attr-defined]
        header = receipt.block_header
        with self._turn:
            ledger = self._ledgers.setdefault(told.ledger, _Ledger())
            again = entry.sequence in ledger.entries
            ledger.entries[entry.sequence] = receipt.entry
            same = ledger.headers.setdefault(block.number, header)
            before, after = ledger.headers.get(block.number - 1), ledger.headers.get(block.number + 1)
            self.answered.append(to_datetime(entry.answered_at_micros))
        if again:
            yield "an entry of its own in the ledger", f"entry {entry.sequence} was given out before"
        if same != header:
            yield "one block of each number", f"block {block.number} was seen with another header"
        chained = (before is None or _follows(before, header)) and (after is None or _follows(header, after))
        if not chained:
            yield "blocks that are chained by their hashes", f"block {block.number} does not fit its neighbour"


def _follows(before: bytes, after: bytes) -> bool:
    return pb.BlockHeader.FromString(after).previous_hash == hashlib.sha256(before).digest()


def _faults_of_entry(entry: pb.Entry, proof: Proof, told: Circumstances) -> Iterator[Found]:
    if entry.caller != told.organization:
        yield f"caller {told.organization or '(none)'} in the entry", f"caller {entry.caller!r}"
    agency = getattr(proof.request, "executive_agency_id", "")
    if entry.agency != agency:
        yield f"agency {agency!r} in the entry", f"agency {entry.agency!r}"
    if UUID(bytes=entry.inquiry_id).version != 7:
        yield "an inquiry_id that is a UUID of version 7", str(UUID(bytes=entry.inquiry_id))
    answered = to_datetime(entry.answered_at_micros)
    if told.at is not None and abs(answered - told.at) > CLOCK_TOLERANCE:
        yield f"answered_at by the steered clock, about {told.at:%Y-%m-%dT%H:%M:%SZ}", f"{answered:%Y-%m-%dT%H:%M:%SZ}"
    yield from _faults_of_hashes(entry, proof, told)


def _faults_of_hashes(entry: pb.Entry, proof: Proof, told: Circumstances) -> Iterator[Found]:
    wanted = _SUBJECTS[proof.method.rpartition("/")[2]]
    lengths = [len(keyed) for keyed in entry.subjects]
    if lengths != [32] * wanted:
        yield f"{wanted} subject(s) of 32 bytes in the entry", f"lengths {lengths}"
    if len(entry.question) != 32:
        yield "a question of 32 bytes in the entry", f"{len(entry.question)} bytes"
    texts = [str(value).encode() for _, value in proof.request.ListFields()]
    plain = {hashlib.sha256(text).digest() for text in (*texts, canonical(proof.request))}
    for key, name in PURPOSE_KEYS.items():
        given, kept = told.metadata.get(key, ""), getattr(entry, name)
        plain.add(hashlib.sha256(given.encode()).digest())
        if len(kept) != (32 if given else 0):
            yield f"{'a keyed hash' if given else 'nothing'} of {key} in the entry", f"{len(kept)} bytes"
    if plain & {*entry.subjects, entry.question, entry.correlation, entry.case_reference, entry.operator}:
        yield "keyed hashes in the entry", "a plain SHA-256, which anyone can reverse by trying"
    rest = pb.Entry()
    rest.CopyFrom(entry)
    for name in ("caller", "agency", "method"):
        rest.ClearField(name)  # type: ignore[arg-type]
    if any(secret in rest.SerializeToString() for secret in told.secrets):
        yield "no identifier of the request in the entry", "one in the clear"
