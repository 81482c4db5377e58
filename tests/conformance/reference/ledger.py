"""The ledger: one entry for each inquiry, one signed block for each batch, a receipt for each answer."""

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
from .inquiry import PURPOSES, Inquiry, purpose_text
from .refusal import Refused

BATCH_SECONDS = 0.002
"""Inquiries that arrive within this time share a block."""


@dataclass
class EntryDraft:
    """What to record, and the future of its receipt."""

    inquiry: Inquiry
    outcome: pb.Outcome.ValueType
    refusal: str
    reply: Message | None
    sealed: "asyncio.Future[pb.Receipt]"


class Ledger:
    """One chain of blocks, in memory; unavailable if *down*."""

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
        self._yes: defaultdict[tuple[str, str, bytes, bytes], list[int]] = defaultdict(list)
        self._waiting: list[EntryDraft] = []
        self._sealing: asyncio.Task[None] | None = None

    def check_available(self) -> None:
        """Refuse if the store is unavailable."""
        if self._down:
            raise Refused(Reason.STORE_UNAVAILABLE)

    async def record(self, inquiry: Inquiry, outcome: pb.Outcome.ValueType, reply: Message) -> pb.Receipt:
        """Record *inquiry*'s answer and return its receipt."""
        return await self._sealed(inquiry, outcome, "", reply)

    async def record_refusal(self, inquiry: Inquiry, reason: Reason) -> None:
        """Record that *inquiry* was refused."""
        await self._sealed(inquiry, pb.OUTCOME_REFUSED, reason.value, None)

    def times_of_yes(self, method: str, caller: str, subject: tuple[str, str], request: Message) -> list[int]:
        """Return when *method* answered YES to *caller*'s *request* about *subject*, in microseconds since 1970."""
        question = self._hmac(method, request.SerializeToString(deterministic=True).hex())
        return self._yes[method, caller, self._hmac(*subject), question]

    async def _sealed(
        self, inquiry: Inquiry, outcome: pb.Outcome.ValueType, refusal: str, reply: Message | None
    ) -> pb.Receipt:
        self.check_available()
        draft = EntryDraft(inquiry, outcome, refusal, reply, asyncio.get_running_loop().create_future())
        self._waiting.append(draft)
        if self._sealing is None:
            self._sealing = asyncio.create_task(self._seal_soon())
        return await draft.sealed

    async def _seal_soon(self) -> None:
        await asyncio.sleep(BATCH_SECONDS)
        drafts, self._waiting, self._sealing = self._waiting, [], None
        try:
            self._seal(drafts)
        except Exception as error:  # noqa: BLE001 - every waiting caller must receive the error
            for draft in drafts:
                draft.sealed.set_exception(error)

    def _seal(self, drafts: Sequence[EntryDraft]) -> None:
        now = self._clock.now()
        first = self._entries + 1
        salts = [secrets.token_bytes(16) for _ in drafts]
        new_entries = [
            self._entry(draft, number, salt, now)
            for number, (draft, salt) in enumerate(zip(drafts, salts, strict=True), start=first)
        ]
        entries = [entry.SerializeToString(deterministic=True) for entry in new_entries]
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
        for entry in new_entries:
            if entry.outcome == pb.OUTCOME_YES:
                asked = (entry.method, entry.caller, entry.subjects[0], entry.question)
                self._yes[asked].append(entry.answered_at_micros)
        for index, draft in enumerate(drafts):
            receipt = pb.Receipt(
                inquiry_id=str(draft.inquiry.id),
                entry=entries[index],
                salt=salts[index],
                merkle_path=audit_path(leaves, index),
                block_header=header,
                signature=signature,
            )
            receipt.answered_at.FromMicroseconds(micros(now))
            if not draft.sealed.done():  # its caller may have cancelled
                draft.sealed.set_result(receipt)

    def _entry(self, draft: EntryDraft, number: int, salt: bytes, now: datetime) -> pb.Entry:
        inquiry = draft.inquiry
        entry = pb.Entry(
            sequence=number,
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros(now),
            caller=inquiry.caller.organization,
            method=inquiry.method.name,
            subject_key_id="r1",
            outcome=draft.outcome,
            refusal=draft.refusal,
            latency_micros=int((time.monotonic() - inquiry.received_at) * 1e6),
        )
        for key, value in inquiry.purposes.items():
            setattr(entry, PURPOSES[key], self._hmac(PURPOSES[key], purpose_text(value) or ""))
        if inquiry.request is not None:
            request = inquiry.request.SerializeToString(deterministic=True)
            entry.subjects.extend(self._hmac(kind, value) for kind, value in inquiry.method.subjects(inquiry.request))
            entry.question = self._hmac(inquiry.method.name, request.hex())
            if draft.reply is not None:
                entry.subjects.extend(self._hmac(kind, value) for kind, value in inquiry.method.disclosed(draft.reply))
                entry.agency = inquiry.method.agency(inquiry.request)
                entry.commitment = commitment(salt, request, draft.reply.SerializeToString(deterministic=True))
        return entry

    def _hmac(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}:{value}".encode(), "sha256")


def commitment(salt: bytes, request: bytes, reply: bytes) -> bytes:
    """Return the commitment that binds an entry to one request and one reply."""
    return hashlib.sha256(salt + hashlib.sha256(request).digest() + hashlib.sha256(reply).digest()).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return RFC 6962's MTH over leaf hashes."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def audit_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return RFC 6962's PATH, the nearest sibling first."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*audit_path(leaves[:split], index), tree_hash(leaves[split:])]
    return [*audit_path(leaves[split:], index - split), tree_hash(leaves[:split])]


def _split(count: int) -> int:
    """Return the largest power of two below *count*."""
    return 1 << (count - 1).bit_length() - 1
