"""Checkpoints: the size and root of a ledger's tree as a signed note (C2SP tlog-checkpoint, signed-note; Ed25519).

    estelam/promissory/14000000001
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — estelam/promissory/14000000001 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+...

The first line is the origin, the name of the ledger: no two ledgers have the same. Lines of other keys than the
ledger's are cosignatures, and are not verified here.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from estelam.core.keys import SigningKey, VerifyingKey
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.tree import HASH_BYTES, MAX_SIZE

MAX_NOTE = 16_384
"""Characters of a note that are read."""
_ED25519 = b"\x01"
_KEY_HASH_BYTES, _SIGNATURE_BYTES = 4, 64
_NAME = r"[^\s+]+"
_NOTE = re.compile(rf"(?P<body>(?P<origin>{_NAME})\n(?P<size>0|[1-9][0-9]*)\n(?P<root>\S+)\n)\n(?P<lines>(?:— .+\n)+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIGNATURE = re.compile(rf"— (?P<name>{_NAME}) (?P<content>\S+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a ledger."""

    origin: str
    size: int
    """The number of entries."""
    root: bytes

    @property
    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{_encode(self.root)}\n"

    def __str__(self) -> str:
        return f"{self.size}:{self.root.hex()}"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was parsed, with its signatures by name and key hash. None of them is verified."""

    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes, bytes], ...]


def origin_of(service: str, organization_id: str) -> str:
    """Return the name of the ledger of *service* (promissory, judiciary) at an organisation."""
    return f"estelam/{service}/{organization_id}"


def key_hash(name: str, public: Ed25519PublicKey) -> bytes:
    """Return the 4 bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public.public_bytes_raw()).digest()[:_KEY_HASH_BYTES]


def verifier_key(name: str, public: Ed25519PublicKey) -> str:
    """Return the key as C2SP's tools take it: name, key hash and key."""
    return f"{name}+{key_hash(name, public).hex()}+{_encode(_ED25519 + public.public_bytes_raw())}"


def sign(checkpoint: Checkpoint, signer: SigningKey, micros: int) -> str:
    """Return the note of *checkpoint*, signed at *micros* (microseconds since 1970).

    Raises:
        KeyFileError: the key's certificate is not valid at that time.
    """
    body = checkpoint.body
    signature = key_hash(checkpoint.origin, signer.key.public_key()) + signer.sign(body.encode(), micros)
    return f"{body}\n— {checkpoint.origin} {_encode(signature)}\n"


def parse(note: str) -> SignedCheckpoint:
    """Return the checkpoint in *note*, whose signatures are not verified.

    Raises:
        ValueError: it is not exactly a checkpoint without extension lines.
    """
    found = _NOTE.fullmatch(note) if len(note) <= MAX_NOTE else None
    if found is None or _CONTROL.search(note):
        raise ValueError("not a checkpoint")
    size, root = int(found["size"][:20]), _decode(found["root"])
    if len(root) != HASH_BYTES or size > MAX_SIZE:
        raise ValueError("not the size and root of a tree")
    checkpoint = Checkpoint(found["origin"], size, root)
    return SignedCheckpoint(checkpoint, tuple(map(_parse_signature, found["lines"].splitlines())))


def parse_all(text: str) -> Iterator[str]:
    """Yield each note of *text*, in which empty lines may separate them.

    Raises:
        ValueError: the text holds something else.
    """
    note = re.compile(rf"{_NAME}\n[0-9]+\n\S+\n\n(?:— .+\n)+")
    rest = text.lstrip("\n")
    while rest:
        if (found := note.match(rest)) is None:
            raise ValueError(f"not a checkpoint: {rest.splitlines()[0][:60]}")
        yield found[0]
        rest = rest[found.end() :].lstrip("\n")


def verify(note: str, keys: Mapping[str, VerifyingKey]) -> tuple[Checkpoint, str]:
    """Return the checkpoint in *note* and the id of the key that signed it, whenever that was.

    Args:
        note: The signed note.
        keys: The service's signing keys by key id.

    Raises:
        InvalidReceipt: it is malformed, none of *keys* signed it, or a signature is wrong.
    """
    try:
        parsed = parse(note)
    except ValueError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None
    checkpoint, signer = parsed.checkpoint, None
    for key_id, signature in _signatures_of(parsed, keys.items()):
        try:
            keys[key_id].verify(signature, checkpoint.body.encode())
        except InvalidSignature:
            raise InvalidReceipt(ReceiptProblem.WRONG_SIGNATURE) from None
        signer = signer or key_id
    if signer is None:
        raise InvalidReceipt(ReceiptProblem.UNKNOWN_KEY)
    return checkpoint, signer


def _signatures_of(parsed: SignedCheckpoint, keys: Iterable[tuple[str, VerifyingKey]]) -> Iterator[tuple[str, bytes]]:
    origin = parsed.checkpoint.origin
    by_hash = {key_hash(origin, key.public): key_id for key_id, key in keys}
    for name, hashed, signature in parsed.signatures:
        if name == origin and hashed in by_hash:
            yield by_hash[hashed], signature


def _parse_signature(line: str) -> tuple[str, bytes, bytes]:
    if (found := _SIGNATURE.fullmatch(line)) is None:
        raise ValueError("not a signature line")
    content = _decode(found["content"])
    if len(content) <= _KEY_HASH_BYTES:
        raise ValueError("a signature is too short")
    return found["name"], content[:_KEY_HASH_BYTES], content[_KEY_HASH_BYTES:]


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _decode(text: str) -> bytes:
    """Return the bytes that *text* is the one base64 form of."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if _encode(content) != text:
        raise ValueError("not the canonical base64 form")
    return content
