"""Checkpoints: the size and root of a ledger's tree as a signed note (C2SP tlog-checkpoint, signed-note; Ed25519).

    estelam/promissory/14000000001
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — estelam/promissory/14000000001 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+...

The first line is the origin, the name of the ledger: no two ledgers have the same. Lines of other keys than the
ledger's are cosignatures (`estelam.receipts.cosignature`), and are not verified here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature

from estelam.core.keys import SigningKey, VerifyingKey
from estelam.core.note_keys import NAME, NoteKey, decode_base64, encode_base64
from estelam.receipts.note import MAX_NOTE, SignatureLine, signature_line
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.tree import HASH_BYTES, MAX_SIZE

_NOTE = re.compile(
    rf"(?P<body>(?P<origin>{NAME})\n(?P<size>0|[1-9][0-9]*)\n(?P<root>\S+)\n(?P<extension>(?:.+\n)*))"
    r"\n(?P<lines>(?:— .+\n)+)"
)
_ORIGIN = re.compile(r"estelam/([^/.]+)/(.*)")
LINES = 5
"""The lines of a note that the ledger's key alone has signed: the checkpoint's, an empty one and its signature."""
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


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
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    def __str__(self) -> str:
        return f"{self.size}:{self.root.hex()}"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint as it was parsed, with its signatures. None of them is verified."""

    checkpoint: Checkpoint
    body: str
    """The text that is signed, with its extension lines."""
    signatures: tuple[SignatureLine, ...]


def origin_of(service: str, organization_id: str) -> str:
    """Return the name of the ledger of *service* (promissory, judiciary) at an organisation."""
    return f"estelam/{service}/{organization_id}"


def is_of_method(origin: str, method: str) -> bool:
    """Return whether the ledger *origin* can be of the service of *method*: estelam/SERVICE and estelam.SERVICE.

    The methods of the shared contract, estelam.inquiry, are those of every service.
    """
    service = _ORIGIN.match(origin)
    return service is not None and method.startswith((f"estelam.{service[1]}.", "estelam.inquiry."))


def service_of(origin: str) -> str:
    """Return the service of the ledger *origin*: estelam/SERVICE/ORGANIZATION; empty if it names none."""
    named = _ORIGIN.match(origin)
    return named[1] if named else ""


def organization_of(origin: str) -> str:
    """Return the organisation of the ledger *origin*: estelam/SERVICE/ORGANIZATION; empty if it names none."""
    named = _ORIGIN.match(origin)
    return named[2] if named else ""


def sign(checkpoint: Checkpoint, signer: SigningKey, micros: int) -> str:
    """Return the note of *checkpoint*, signed at *micros* (microseconds since 1970).

    Raises:
        KeyFileError: the key's certificate is not valid at that time.
    """
    body = checkpoint.body
    key = NoteKey(checkpoint.origin, signer.key.public_key())
    return f"{body}\n{signature_line(key, signer.sign(body.encode(), micros))}"


def parse(note: str, *, extensible: bool = False) -> SignedCheckpoint:
    """Return the checkpoint in *note*, whose signatures are not verified.

    Args:
        note: The signed note.
        extensible: Accept extension lines, which logs other than our ledgers may have.

    Raises:
        ValueError: it is not exactly a checkpoint.
    """
    # SQLite stores a value of any type.
    found = _NOTE.fullmatch(note) if isinstance(note, str) and len(note) <= MAX_NOTE else None
    if found is None or _CONTROL.search(note) or (found["extension"] and not extensible):
        raise ValueError("not a checkpoint")
    size, root = int(found["size"][:20]), decode_base64(found["root"])
    if len(root) != HASH_BYTES or size > MAX_SIZE:
        raise ValueError("not the size and root of a tree")
    checkpoint = Checkpoint(found["origin"], size, root)
    lines = found["lines"].removesuffix("\n").split("\n")
    return SignedCheckpoint(checkpoint, found["body"], tuple(map(SignatureLine.parse, lines)))


def parse_all(text: str) -> Iterator[str]:
    """Yield each note of *text*, in which empty lines may separate them.

    Raises:
        ValueError: the text holds something else.
    """
    note = re.compile(rf"{NAME}\n[0-9]+\n\S+\n\n(?:— .+\n)+")
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
    by_hash = {NoteKey(origin, key.public).hash: key_id for key_id, key in keys}
    for line in parsed.signatures:
        if line.name == origin and line.key_hash in by_hash:
            yield by_hash[line.key_hash], line.signature
