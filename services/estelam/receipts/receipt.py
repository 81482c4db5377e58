"""Receipts: the commitment, Merkle trees (RFC 6962) and offline verification. No store, no clock, no network."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from google.protobuf.message import DecodeError, Message

from estelam.core.keys import VerifyingKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem

SIGNING_CONTEXT = b"estelam block v1\0"


def canonical(message: Message) -> bytes:
    """Return the canonical protobuf form: known fields in the order of their numbers, without default values."""
    return message.SerializeToString(deterministic=True)


def commitment(salt: bytes, request: bytes, reply: bytes) -> bytes:
    """Return SHA-256(salt || SHA-256(request) || SHA-256(reply without receipt)), 32 bytes."""
    return hashlib.sha256(salt + hashlib.sha256(request).digest() + hashlib.sha256(reply).digest()).digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\0" + entry).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Return every level of the RFC 6962 tree over leaf hashes, from leaves to root.

    The last node of a level of odd length moves up unchanged.
    """
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [_node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)]
        levels.append(level + below[len(below) - len(below) % 2 :])
    return levels


def merkle_path(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """Return the audit path of leaf *index*, from its sibling to the root (RFC 6962, section 2.1.1)."""
    path = []
    for level in levels[:-1]:
        if (sibling := index ^ 1) < len(level):
            path.append(level[sibling])
        index //= 2
    return path


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that *path* leads to from *leaf* at *index* in a tree of *size* leaves.

    Raises:
        InvalidReceipt: the path has too few or too many nodes, or the index is outside the tree.
    """
    if not 0 <= index < size:
        raise InvalidReceipt(ReceiptProblem.NOT_IN_BLOCK)
    node, rest = leaf, list(path)
    last = size - 1
    while last > 0:
        if index % 2 or index < last:
            if not rest:
                raise InvalidReceipt(ReceiptProblem.NOT_IN_BLOCK)
            sibling = rest.pop(0)
            node = _node_hash(sibling, node) if index % 2 else _node_hash(node, sibling)
        index, last = index // 2, last // 2
    if rest:
        raise InvalidReceipt(ReceiptProblem.NOT_IN_BLOCK)
    return node


def check_signature(
    header: pb.BlockHeader, signature: bytes, keys: Mapping[str, VerifyingKey], *, is_time_proven: bool = False
) -> None:
    """Check that *signature* signs *header* by a key of *keys* that was valid when the block was sealed.

    Args:
        header: The block's header.
        signature: Its Ed25519 signature.
        keys: The service's signing keys by key id.
        is_time_proven: Whether the time of sealing is proven by more than this signature (see `VerifyingKey`).

    Raises:
        InvalidReceipt: It does not, the key was not valid then, or *keys* has no such key.
    """
    if (key := keys.get(header.key_id)) is None:
        raise InvalidReceipt(ReceiptProblem.UNKNOWN_KEY)
    try:
        key.verify(signature, SIGNING_CONTEXT + canonical(header))
    except InvalidSignature:
        raise InvalidReceipt(ReceiptProblem.WRONG_SIGNATURE) from None
    if problem := key.invalidity(header.sealed_at_micros, is_time_proven=is_time_proven):
        raise InvalidReceipt(ReceiptProblem.KEY_NOT_VALID, problem)


@dataclass(frozen=True, slots=True)
class VerifiedReceipt:
    """What a valid receipt proves."""

    entry: pb.Entry
    block: pb.BlockHeader


class Verifier:
    """Verifies receipts.

    The receipts of a block share one signature: the last *blocks* valid signatures are cached.

    Args:
        keys: The service's signing keys by key id.
        blocks: The size of the cache.
    """

    def __init__(self, keys: Mapping[str, VerifyingKey], *, blocks: int = 1024) -> None:
        self._keys = keys
        self._check_header = lru_cache(blocks)(self._check_signed)

    def verify(self, method: str, request: Message, reply: Message) -> VerifiedReceipt:
        """Verify that the service answered *request* with *reply*, which includes its receipt.

        1 The entry is of this method and is an answer, 2 it commits to this request and this reply, 3 the block
        contains it, 4 the block is signed by a key that was valid at the time of the answer, 5 the answer and the plain
        fields agree with the entry.

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
        entry, header = _parse(receipt)
        if entry.method != method or entry.outcome in (pb.OUTCOME_UNSPECIFIED, pb.OUTCOME_REFUSED):  # 1
            raise InvalidReceipt(ReceiptProblem.OTHER_METHOD)
        bare = type(reply)()
        bare.CopyFrom(reply)
        bare.ClearField("receipt")
        if commitment(receipt.salt, canonical(request), canonical(bare)) != entry.commitment:  # 2
            raise InvalidReceipt(ReceiptProblem.OTHER_CONTENT)
        index = entry.sequence - header.first_sequence
        root = root_from_path(leaf_hash(receipt.entry), index, header.entry_count, receipt.merkle_path)
        if root != header.merkle_root:  # 3
            raise InvalidReceipt(ReceiptProblem.NOT_IN_BLOCK)
        self._check_header(receipt.block_header, receipt.signature)  # 4
        if problem := self._keys[header.key_id].invalidity(entry.answered_at_micros):
            raise InvalidReceipt(ReceiptProblem.KEY_NOT_VALID, problem)
        _check_plain_fields(reply, receipt, entry)  # 5
        return VerifiedReceipt(entry, header)

    def _check_signed(self, header: bytes, signature: bytes) -> None:
        check_signature(pb.BlockHeader.FromString(header), signature, self._keys)


def verify(method: str, request: Message, reply: Message, keys: Mapping[str, VerifyingKey]) -> VerifiedReceipt:
    """Verify one reply as a `Verifier` does.

    Raises:
        InvalidReceipt: the receipt does not prove it.
    """
    return Verifier(keys).verify(method, request, reply)


def _parse(receipt: pb.Receipt) -> tuple[pb.Entry, pb.BlockHeader]:
    try:
        entry = pb.Entry.FromString(receipt.entry)
        header = pb.BlockHeader.FromString(receipt.block_header)
    except DecodeError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None
    if canonical(entry) != receipt.entry or canonical(header) != receipt.block_header or len(receipt.salt) != 16:
        raise InvalidReceipt(ReceiptProblem.NOT_CANONICAL)
    return entry, header


def _check_plain_fields(reply: Message, receipt: pb.Receipt, entry: pb.Entry) -> None:
    answers = {pb.OUTCOME_YES: pb.ANSWER_YES, pb.OUTCOME_NO: pb.ANSWER_NO}
    plain = pb.Receipt(
        inquiry_id=str(UUID(bytes=entry.inquiry_id)),
        entry=receipt.entry,
        salt=receipt.salt,
        merkle_path=receipt.merkle_path,
        block_header=receipt.block_header,
        signature=receipt.signature,
    )
    plain.answered_at.FromMicroseconds(entry.answered_at_micros)
    # The whole messages are compared, so that an added field or another encoding of the time is found too.
    same = canonical(receipt) == canonical(plain) and getattr(reply, "answer", None) == answers.get(entry.outcome)
    if not same:
        raise InvalidReceipt(ReceiptProblem.PLAIN_FIELDS)
