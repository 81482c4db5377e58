"""The ledger: one entry for each inquiry, one signed checkpoint for each batch, a receipt for each answer."""

import asyncio
import base64
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
"""Inquiries that arrive within this time share a checkpoint."""


@dataclass
class EntryDraft:
    """What to record, and the future of its receipt."""

    inquiry: Inquiry
    outcome: pb.Outcome.ValueType
    refusal: str
    reply: Message | None
    sealed: "asyncio.Future[pb.Receipt]"


class Ledger:
    """The ledger named *origin*, in memory; unavailable if *down*."""

    def __init__(self, origin: str, signing_key: Path, clock: Clock, *, down: bool) -> None:
        key = load_pem_private_key(signing_key.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{signing_key} holds no Ed25519 key")
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self._key, self._key_hash = key, hashlib.sha256(f"{origin}\n\x01".encode() + public).digest()[:4]
        self._origin = origin
        self._clock = clock
        self._down = down
        self._secret = secrets.token_bytes(32)
        self._tree = Tree()
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
        salts = [secrets.token_bytes(16) for _ in drafts]
        found = [self._entry(draft, salt, now) for draft, salt in zip(drafts, salts, strict=True)]
        entries = [entry.SerializeToString(deterministic=True) for entry, _ in found]
        first = self._tree.size
        self._tree.leaves.extend(hashlib.sha256(b"\x00" + entry).digest() for entry in entries)
        checkpoint = self._checkpoint()
        for entry, keys in found:
            if entry.outcome == pb.OUTCOME_YES:
                asked = (entry.method, entry.caller, keys.subjects[0], keys.question)
                self._yes[asked].append(entry.answered_at_micros)
        for index, draft in enumerate(drafts):
            receipt = pb.Receipt(
                inquiry_id=str(draft.inquiry.id),
                request=canonical(draft.inquiry.request),
                reply=canonical(draft.reply),
                entry=entries[index],
                salt=salts[index],
                index=first + index,
                inclusion_path=self._tree.path(first + index),
                checkpoint=checkpoint,
            )
            receipt.answered_at.FromMicroseconds(micros(now))
            if not draft.sealed.done():  # its caller may have cancelled
                draft.sealed.set_result(receipt)

    def _checkpoint(self) -> str:
        root = base64.b64encode(self._tree.root).decode()
        body = f"{self._origin}\n{self._tree.size}\n{root}\n"
        signature = base64.b64encode(self._key_hash + self._key.sign(body.encode())).decode()
        return f"{body}\n— {self._origin} {signature}\n"

    def _entry(self, draft: EntryDraft, salt: bytes, now: datetime) -> tuple[pb.Entry, pb.SearchKeys]:
        inquiry = draft.inquiry
        keys = pb.SearchKeys(salt=secrets.token_bytes(16), key_id="r1")
        for key, value in inquiry.purposes.items():
            setattr(keys, PURPOSES[key], self._hmac(PURPOSES[key], purpose_text(value) or ""))
        if inquiry.request is not None:
            keys.subjects.extend(self._hmac(kind, value) for kind, value in inquiry.method.subjects(inquiry.request))
            keys.question = self._hmac(inquiry.method.name, canonical(inquiry.request).hex())
        if draft.reply is not None:
            keys.subjects.extend(self._hmac(kind, value) for kind, value in inquiry.method.disclosed(draft.reply))
        entry = pb.Entry(
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros(now),
            caller=inquiry.caller.organization,
            method=inquiry.method.name,
            outcome=draft.outcome,
            refusal=draft.refusal,
            latency_micros=int((time.monotonic() - inquiry.received_at) * 1e6),
            keys_commitment=hashlib.sha256(canonical(keys)).digest(),
        )
        if inquiry.nonce:
            entry.nonce = hashlib.sha256(inquiry.nonce.encode()).digest()
        if draft.reply is not None:
            entry.agency = inquiry.method.agency(inquiry.request)
            entry.commitment = commitment(salt, canonical(inquiry.request), canonical(draft.reply))
        return entry, keys

    def _hmac(self, kind: str, value: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}:{value}".encode(), "sha256")


def commitment(salt: bytes, request: bytes, reply: bytes) -> bytes:
    """Return the commitment that binds an entry to one request and one reply."""
    return hashlib.sha256(salt + hashlib.sha256(request).digest() + hashlib.sha256(reply).digest()).digest()


def canonical(message: Message | None) -> bytes:
    """Return the canonical form of *message*; empty if there is none."""
    return b"" if message is None else message.SerializeToString(deterministic=True)


class Tree:
    """RFC 9162's tree over leaf hashes."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []
        self._complete: dict[tuple[int, int], bytes] = {}

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self.leaves)

    @property
    def root(self) -> bytes:
        """The tree's hash."""
        return self._hash(0, self.size)

    def path(self, index: int) -> list[bytes]:
        """Return RFC 9162's PATH, the nearest sibling first."""
        return self._path(index, 0, self.size)

    def _hash(self, start: int, end: int) -> bytes:
        """Return RFC 9162's MTH of the leaves from *start* to before *end*."""
        count = end - start
        if count == 1:
            return self.leaves[start]
        if (known := self._complete.get((start, end))) is not None:
            return known
        middle = start + _split(count)
        node = hashlib.sha256(b"\x01" + self._hash(start, middle) + self._hash(middle, end)).digest()
        if count & (count - 1) == 0:
            self._complete[start, end] = node
        return node

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _split(end - start)
        if index < middle:
            return [*self._path(index, start, middle), self._hash(middle, end)]
        return [*self._path(index, middle, end), self._hash(start, middle)]


def _split(count: int) -> int:
    """Return the largest power of two below *count*."""
    return 1 << (count - 1).bit_length() - 1
