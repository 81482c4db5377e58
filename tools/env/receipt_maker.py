"""Receipts without a service: signed by a given key, for an entry at any place of a ledger of any size."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from google.protobuf.message import Message

from estelam.core.clock import to_micros
from estelam.core.keys import SigningKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.receipt import canonical, commitment
from estelam.receipts.tree import Frontier, leaf_hash, root_from_path

INQUIRY_ID = UUID(int=7)
CALLER = "99000316764"
SALT = bytes(range(16))
_BUILT = 1000
"""Leaves of the largest tree that is built; of a larger one, the path's nodes are made up and give its root."""


class ReceiptMaker:
    """Makes receipts of the ledger *origin*, signed by *signer*."""

    def __init__(self, signer: SigningKey, origin: str) -> None:
        self._signer = signer
        self._origin = origin

    def receipt(
        self,
        method: str,
        request: Message,
        reply: Message,
        *,
        at: datetime,
        index: int = 4,
        size: int = 7,
        salt: bytes = SALT,
        edit: Callable[[pb.Entry], object] = lambda _entry: None,
        encode: Callable[[pb.Entry], bytes] = canonical,
    ) -> pb.Receipt:
        """Return the receipt of *reply* to *request*.

        Args:
            method: package.Service/Method.
            request: The request.
            reply: The reply without receipt.
            at: The time of the answer.
            index: The entry's place.
            size: The entries of the ledger.
            salt: The salt of the commitment.
            edit: Changes the entry before it is signed.
            encode: Returns the entry's bytes.
        """
        asked, answered = canonical(request), canonical(reply)
        entry = pb.Entry(
            inquiry_id=INQUIRY_ID.bytes,
            answered_at_micros=to_micros(at),
            caller=CALLER,
            method=method,
            outcome=getattr(reply, "answer", pb.OUTCOME_DISCLOSED),
            latency_micros=900,
            commitment=commitment(salt, asked, answered),
            keys_commitment=bytes(32),
        )
        edit(entry)
        leaf = encode(entry)
        path, root = _place(leaf_hash(leaf), index, size)
        note = checkpoint.sign(Checkpoint(self._origin, size, root), self._signer, to_micros(at))
        receipt = pb.Receipt(
            inquiry_id=str(INQUIRY_ID),
            request=asked,
            reply=answered,
            entry=leaf,
            salt=salt,
            index=index,
            inclusion_path=path,
            checkpoint=note,
        )
        receipt.answered_at.FromMicroseconds(to_micros(at))
        return receipt


def _place(leaf: bytes, index: int, size: int) -> tuple[list[bytes], bytes]:
    """Return the inclusion path and the root of a tree with *leaf*, a hash, at *index*."""
    if size <= _BUILT:
        growth = Frontier().append([leaf if number == index else leaf_hash(b"%d" % number) for number in range(size)])
        return growth.path(index), growth.root
    path: list[bytes] = []
    while (root := root_from_path(leaf, index, size, path)) is None:
        path.append(hashlib.sha256(b"%d" % len(path)).digest())
    return path, root
