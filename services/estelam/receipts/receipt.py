"""Receipts: the commitment and offline verification. No store, no clock, no network."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from uuid import UUID

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from estelam.core.keys import VerifyingKey
from estelam.core.note_keys import NoteKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import checkpoint, cosignature
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.cosignature import Cosignature
from estelam.receipts.problems import END_OF_TIME, InvalidReceipt, ReceiptProblem, check_key
from estelam.receipts.tree import leaf_hash, root_from_path

SALT_BYTES = 16
_LENGTH_DELIMITED = 2
_ANSWERED = frozenset({pb.OUTCOME_YES, pb.OUTCOME_NO, pb.OUTCOME_DISCLOSED, pb.OUTCOME_LISTED})
"""Protobuf's wire type of messages and texts."""


def canonical(message: Message) -> bytes:
    """Return the canonical protobuf form: known fields in the order of their numbers, without default values."""
    return message.SerializeToString(deterministic=True)


def commitment(salt: bytes, request: bytes, reply: bytes) -> bytes:
    """Return SHA-256(salt || SHA-256(request) || SHA-256(reply without receipt)), 32 bytes."""
    return hashlib.sha256(salt + hashlib.sha256(request).digest() + hashlib.sha256(reply).digest()).digest()


def with_receipt(kind: type[Message], reply: bytes, receipt: bytes) -> bytes:
    """Return the canonical form of a message of *kind*, from that of the *reply* without its receipt and the receipt.

    The receipt is the last field of every reply, so its bytes follow those that the entry commits to.
    """
    return b"".join((reply, _receipt_tag(kind.DESCRIPTOR), _varint(len(receipt)), receipt))


@cache
def _receipt_tag(kind: Descriptor) -> bytes:
    return _varint(kind.fields_by_name["receipt"].number << 3 | _LENGTH_DELIMITED)


def _varint(number: int) -> bytes:
    """Return *number* in protobuf's variable-length form."""
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def outcome_word(entry: pb.Entry) -> str:
    """Return the outcome of *entry* as people read it: YES, NO, DISCLOSED, LISTED or REFUSED."""
    return pb.Outcome.Name(entry.outcome).removeprefix("OUTCOME_")


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a valid receipt proves."""

    entry: pb.Entry
    index: int
    checkpoint: Checkpoint
    key_id: str
    """The id of the key that signed the checkpoint."""
    cosignatures: tuple[Cosignature, ...] = ()
    """Those of the given witnesses on the checkpoint."""

    @property
    def outcome(self) -> str:
        """YES, NO, DISCLOSED or LISTED."""
        return outcome_word(self.entry)


class Verifier:
    """Verifies receipts.

    The receipts of a commit share one checkpoint: the last *checkpoints* valid ones are cached.

    Args:
        keys: The service's signing keys by key id.
        witnesses: The keys of the witnesses whose cosignatures are verified; no two have the same key.
        needed: How many of them must have cosigned the checkpoint.
        checkpoints: The size of the cache.
    """

    def __init__(
        self,
        keys: Mapping[str, VerifyingKey],
        *,
        witnesses: Sequence[NoteKey] = (),
        needed: int = 0,
        checkpoints: int = 1024,
    ) -> None:
        self._keys = keys
        self._witnesses = witnesses
        self._needed = needed
        self._verified = lru_cache(checkpoints)(self._verify_checkpoint)

    def verify(self, method: str, request: Message, reply: Message) -> VerifiedReceipt:
        """Verify that the service answered *request* with *reply*, which includes its receipt.

        1-5 The receipt proves its own request and reply, 6 they are these ones, and the answer agrees with the entry.

        Args:
            method: package.Service/Method.
            request: The request as it was sent.
            reply: The reply as it was received.

        Raises:
            InvalidReceipt: a step fails.
        """
        receipt = getattr(reply, "receipt", None)
        if not isinstance(receipt, pb.Receipt):
            raise InvalidReceipt(ReceiptProblem.NO_RECEIPT)
        if not reply.HasField("receipt"):
            raise InvalidReceipt(ReceiptProblem.ABSENT)
        verified = self.verify_receipt(receipt)
        if verified.entry.method != method:
            raise InvalidReceipt(ReceiptProblem.OTHER_METHOD)
        check_content(receipt, request, reply)  # 6
        answers = {pb.OUTCOME_YES: pb.ANSWER_YES, pb.OUTCOME_NO: pb.ANSWER_NO}
        if getattr(reply, "answer", None) != answers.get(verified.entry.outcome):
            raise InvalidReceipt(ReceiptProblem.PLAIN_FIELDS)
        return verified

    def verify_receipt(self, receipt: pb.Receipt) -> VerifiedReceipt:
        """Verify that the service gave the reply in *receipt* to the request in it, whatever their contract says.

        1 The entry is an answer, 2 it commits to the request and the reply, 3 the checkpoint's tree contains it, 4 the
        checkpoint is signed by a key that was valid at the time of the answer, and cosigned by as many witnesses as are
        needed, 5 the plain fields agree with the entry, and the ledger is of the service whose method the entry names
        and of the organisation that a certificate of the key names.

        Raises:
            InvalidReceipt: a step fails.
        """
        entry = entry_of(receipt)
        if len(receipt.salt) != SALT_BYTES or entry.answered_at_micros >= END_OF_TIME:
            raise InvalidReceipt(ReceiptProblem.DAMAGED)
        if entry.outcome not in _ANSWERED:  # 1
            raise InvalidReceipt(ReceiptProblem.OTHER_METHOD)
        if commitment(receipt.salt, receipt.request, receipt.reply) != entry.commitment:  # 2
            raise InvalidReceipt(ReceiptProblem.OTHER_CONTENT)
        head = _parse(receipt.checkpoint)
        path = receipt.inclusion_path
        if root_from_path(leaf_hash(receipt.entry), receipt.index, head.size, path) != head.root:  # 3
            raise InvalidReceipt(ReceiptProblem.NOT_IN_TREE)
        key_id, cosignatures = self._verified(receipt.checkpoint)  # 4
        check_key(self._keys[key_id], entry.answered_at_micros)
        _check_plain_fields(receipt, entry)  # 5
        if not checkpoint.is_of_method(head.origin, entry.method):
            raise InvalidReceipt(ReceiptProblem.OTHER_LEDGER)
        if checkpoint.organization_of(head.origin) not in (organizations := self._keys[key_id].organizations):
            raise InvalidReceipt(
                ReceiptProblem.OTHER_ORGANIZATION if organizations else ReceiptProblem.UNNAMED_ORGANIZATION
            )
        return VerifiedReceipt(entry, receipt.index, head, key_id, cosignatures)

    def _verify_checkpoint(self, note: str) -> tuple[str, tuple[Cosignature, ...]]:
        _, key_id = checkpoint.verify(note, self._keys)
        cosignatures = tuple(cosignature.verify(note, self._witnesses)) if self._witnesses else ()
        if (count := len(cosignatures)) < self._needed:
            detail = f"{count} of the given witnesses cosigned the checkpoint, fewer than {self._needed}"
            raise InvalidReceipt(
                ReceiptProblem.TOO_FEW_WITNESSES, f"{detail}; ask the service for a receipt with cosignatures"
            )
        return key_id, cosignatures


def verify(method: str, request: Message, reply: Message, keys: Mapping[str, VerifyingKey]) -> VerifiedReceipt:
    """Verify one reply as a `Verifier` does.

    Raises:
        InvalidReceipt: the receipt does not prove it.
    """
    return Verifier(keys).verify(method, request, reply)


def _parse(note: str) -> Checkpoint:
    try:
        return checkpoint.parse(note).checkpoint
    except ValueError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None


def entry_of(receipt: pb.Receipt) -> pb.Entry:
    """Return the entry that *receipt* states; whether the ledger has it is another question.

    Raises:
        InvalidReceipt: it is malformed.
    """
    try:
        return pb.Entry.FromString(receipt.entry)
    except DecodeError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None


def check_content(receipt: pb.Receipt, request: Message, reply: Message) -> None:
    """Check that *receipt* holds this request and this reply; whether it is valid is another question.

    Raises:
        InvalidReceipt: it holds others.
    """
    bare = type(reply)()
    bare.CopyFrom(reply)
    bare.ClearField("receipt")
    try:
        stated = type(request).FromString(receipt.request), type(reply).FromString(receipt.reply)
    except DecodeError:
        raise InvalidReceipt(ReceiptProblem.OTHER_CONTENT) from None
    if tuple(map(canonical, stated)) != (canonical(request), canonical(bare)):
        raise InvalidReceipt(ReceiptProblem.OTHER_CONTENT)


def _check_plain_fields(receipt: pb.Receipt, entry: pb.Entry) -> None:
    if len(entry.inquiry_id) != len(UUID(int=0).bytes):
        raise InvalidReceipt(ReceiptProblem.DAMAGED)
    plain = pb.Receipt(
        inquiry_id=str(UUID(bytes=entry.inquiry_id)),
        request=receipt.request,
        reply=receipt.reply,
        entry=receipt.entry,
        salt=receipt.salt,
        index=receipt.index,
        inclusion_path=receipt.inclusion_path,
        checkpoint=receipt.checkpoint,
    )
    plain.answered_at.FromMicroseconds(entry.answered_at_micros)
    # The whole messages are compared, so that an added field or another encoding of the time is found too.
    if canonical(receipt) != canonical(plain):
        raise InvalidReceipt(ReceiptProblem.PLAIN_FIELDS)
