"""Verification of the ministry's receipts."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError, Message

from estelam.inquiry.v1 import inquiry_pb2 as pb

from .ledger import canonical, commitment

ANSWERS = {pb.OUTCOME_YES: pb.ANSWER_YES, pb.OUTCOME_NO: pb.ANSWER_NO, pb.OUTCOME_DISCLOSED: pb.ANSWER_UNSPECIFIED}


class ReceiptVerifier:
    """Verifies receipts with one signing *certificate*."""

    def __init__(self, certificate: Path) -> None:
        key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError(f"{certificate} is of no Ed25519 key")
        self._key = key

    def is_valid(self, method: str, request: Message, reply: Any) -> bool:
        """Return whether *reply*'s receipt proves that it is *method*'s reply to *request*."""
        receipt = reply.receipt
        try:
            entry = pb.Entry.FromString(receipt.entry)
            size, tree_root = self._checkpoint(receipt.checkpoint)
        except (DecodeError, InvalidSignature, ValueError):
            return False
        bare = type(reply)()
        bare.CopyFrom(reply)
        bare.ClearField("receipt")
        leaf = hashlib.sha256(b"\x00" + receipt.entry).digest()
        return (
            entry.method == method
            and entry.commitment == commitment(receipt.salt, receipt.request, receipt.reply)
            and (receipt.request, receipt.reply) == (canonical(request), canonical(bare))
            and 0 <= receipt.index < size
            and root(leaf, receipt.index, size, receipt.inclusion_path) == tree_root
            and ANSWERS.get(entry.outcome) == getattr(reply, "answer", pb.ANSWER_UNSPECIFIED)
            and receipt.inquiry_id == str(UUID(bytes=entry.inquiry_id))
            and receipt.answered_at.ToMicroseconds() == entry.answered_at_micros
        )

    def _checkpoint(self, note: str) -> tuple[int, bytes]:
        """Return size and root of the signed *note*."""
        body, _, signature_line = note.partition("\n\n")
        origin, size, tree_root = body.split("\n")
        dash, name, signature = signature_line.removesuffix("\n").split(" ")
        if (dash, name) != ("—", origin):
            raise ValueError(note)
        self._key.verify(base64.b64decode(signature, validate=True)[4:], f"{body}\n".encode())
        return int(size), base64.b64decode(tree_root, validate=True)


def root(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root of an audit path, computed from its last sibling down; None if its length is wrong."""
    if count == 1:
        return leaf if not path else None
    if not path:
        return None
    split = 1 << (count - 1).bit_length() - 1
    in_left = index < split
    below = root(leaf, index, split, path[:-1]) if in_left else root(leaf, index - split, count - split, path[:-1])
    if below is None:
        return None
    return hashlib.sha256(b"\x01" + (below + path[-1] if in_left else path[-1] + below)).digest()
