"""The ledger: every inquiry one entry, all of one moment one signed block, and a receipt for each answer."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from google.protobuf.message import Message

from estelam.core.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb

from .clock import Clock, micros
from .inquiry import PURPOSES, Inquiry
from .words import Declined

GATHERING_SECONDS = 0.002
"""Inquiries that come within this lie in one block."""


@dataclass
class Line:
    """What is to be recorded, and who waits for it."""

    inquiry: Inquiry
    outcome: pb.Outcome.ValueType
    refusal: str
    reply: Message | None
    sealed: "asyncio.Future[pb.Receipt]"


class Ledger:
    """One chain of blocks, kept in memory; *down*, it can't be reached."""

    def __init__(self, signing_key: Path, clock: Clock, *, down: bool) -> None:
        key = load_pem_private_key(signing_key.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{signing_key} holds no Ed25519 key")
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key, self._key_id = key, hashlib.sha256(public).hexdigest()[:16]
        self._clock = clock
        self._down = down
        self._secret = secrets.token_bytes(32)
        self._previous, self._blocks, self._entries = bytes(32), 0, 0
        self._yes: defaultdict[tuple[str, str, bytes], list[int]] = defaultdict(list)
        self._waiting: list[Line] = []
        self._sealing: asyncio.Task[None] | None = None

    def reach(self) -> None:
        """Decline where the store is out of reach."""
        if self._down:
            raise Declined(Reason.STORE_UNAVAILABLE)

    async def record(self, inquiry: Inquiry, outcome: pb.Outcome.ValueType, reply: Message) -> pb.Receipt:
        """Record *inquiry*'s answer; its receipt."""
        return await self._sealed(inquiry, outcome, "", reply)

    async def record_refusal(self, inquiry: Inquiry, reason: Reason) -> None:
        """Record that *inquiry* was declined."""
        await self._sealed(inquiry, pb.OUTCOME_REFUSED, reason.value, None)

    def said_yes(self, method: str, caller: str, subject: tuple[str, str]) -> list[int]:
        """When *method* gave *caller* a yes about *subject*, in microseconds since 1970."""
        return self._yes[method, caller, self._hidden(*subject)]

    async def _sealed(
        self, inquiry: Inquiry, outcome: pb.Outcome.ValueType, refusal: str, reply: Message | None
    ) -> pb.Receipt:
        self.reach()
        line = Line(inquiry, outcome, refusal, reply, asyncio.get_running_loop().create_future())
        self._waiting.append(line)
        if self._sealing is None:
            self._sealing = asyncio.create_task(self._seal_soon())
        return await line.sealed

    async def _seal_soon(self) -> None:
        await asyncio.sleep(GATHERING_SECONDS)
        lines, self._waiting, self._sealing = self._waiting, [], None
        try:
            self._seal(lines)
        except Exception as fault:  # noqa: BLE001 - whoever waits must learn of it
            for line in lines:
                line.sealed.set_exception(fault)

    def _seal(self, lines: Sequence[Line]) -> None:
        now = self._clock.now()
        first = self._entries + 1
        salts = [secrets.token_bytes(16) for _ in lines]
        written = [
            self._entry(line, number, salt, now)
            for number, (line, salt) in enumerate(zip(lines, salts, strict=True), start=first)
        ]
        entries = [entry.SerializeToString(deterministic=True) for entry in written]
        leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
        header = pb.BlockHeader(
            number=self._blocks + 1,
            previous_hash=self._previous,
            merkle_root=tree_hash(leaves),
            first_sequence=first,
            entry_count=len(entries),
            sealed_at_micros=micros(now),
            key_id=self._key_id,
        ).SerializeToString(deterministic=True)
        signature = self._key.sign(b"estelam block v1\x00" + header)
        self._previous = hashlib.sha256(header).digest()
        self._blocks += 1
        self._entries += len(entries)
        for entry in written:
            if entry.outcome == pb.OUTCOME_YES:
                self._yes[entry.method, entry.caller, entry.subjects[0]].append(entry.answered_at_micros)
        for place, line in enumerate(lines):
            receipt = pb.Receipt(
                inquiry_id=str(line.inquiry.id),
                entry=entries[place],
                salt=salts[place],
                merkle_path=audit_path(leaves, place),
                block_header=header,
                signature=signature,
            )
            receipt.answered_at.FromMicroseconds(micros(now))
            if not line.sealed.done():  # its caller may have gone
                line.sealed.set_result(receipt)

    def _entry(self, line: Line, number: int, salt: bytes, now: datetime) -> pb.Entry:
        inquiry = line.inquiry
        entry = pb.Entry(
            sequence=number,
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros(now),
            caller=inquiry.caller.organization,
            method=inquiry.method.name,
            subject_key_id="r1",
            outcome=line.outcome,
            refusal=line.refusal,
            latency_micros=int((time.monotonic() - inquiry.arrived) * 1e6),
        )
        for key, value in inquiry.purposes.items():
            setattr(entry, PURPOSES[key], self._hidden(PURPOSES[key], value))
        if inquiry.request is not None:
            request = inquiry.request.SerializeToString(deterministic=True)
            entry.subjects.extend(self._hidden(kind, value) for kind, value in inquiry.method.subjects(inquiry.request))
            entry.question = self._hidden(inquiry.method.name, request.hex())
            if line.reply is not None:
                entry.agency = inquiry.method.agency(inquiry.request)
                entry.commitment = commitment(salt, request, line.reply.SerializeToString(deterministic=True))
        return entry

    def _hidden(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}:{value}".encode(), "sha256")


def commitment(salt: bytes, request: bytes, reply: bytes) -> bytes:
    """What binds an entry to one request and one reply."""
    return hashlib.sha256(salt + hashlib.sha256(request).digest() + hashlib.sha256(reply).digest()).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962's MTH over hashed leaves, as it is defined there."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def audit_path(leaves: Sequence[bytes], place: int) -> list[bytes]:
    """RFC 6962's PATH: the nearest sibling first."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if place < split:
        return [*audit_path(leaves[:split], place), tree_hash(leaves[split:])]
    return [*audit_path(leaves[split:], place - split), tree_hash(leaves[:split])]


def _split(count: int) -> int:
    """The largest power of two below *count*."""
    return 1 << (count - 1).bit_length() - 1
