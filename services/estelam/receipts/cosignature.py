"""Cosignatures: a witness states that a checkpoint continues all that it has seen (C2SP tlog-cosignature; Ed25519).

A witness signs the time and the checkpoint's text. Its line stands in the note after that of the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from estelam.core.note_keys import KeyKind, NoteKey
from estelam.core.pem import KeyFileError, read_private_key
from estelam.receipts import checkpoint
from estelam.receipts.note import SignatureLine, signature_line
from estelam.receipts.problems import END_OF_TIME, InvalidReceipt, ReceiptProblem

_TIME = Struct(">Q")
_SIGNATURE_BYTES = 64


class Cosignature(NamedTuple):
    """A verified cosignature: which witness had seen the checkpoint, and when."""

    witness: str
    """The name of its key."""
    seconds: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key, with its name."""

    key: NoteKey
    private: Ed25519PrivateKey

    @classmethod
    def load(cls, name: str, path: Path) -> "Cosigner":
        """Read an Ed25519 private key from a PEM file.

        Raises:
            KeyFileError: the file holds no such key.
            OSError: the file can't be read.
        """
        private = read_private_key(path)
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: not an Ed25519 private key; make one: openssl genpkey -algorithm ed25519")
        return cls(NoteKey(name, private.public_key(), KeyKind.COSIGNATURE), private)

    def cosign(self, body: str, seconds: int) -> str:
        """Return the line that cosigns the checkpoint whose text is *body* at *seconds* since 1970."""
        return signature_line(self.key, _TIME.pack(seconds) + self.private.sign(_signed_text(body, seconds)))


def verify(note: str, witnesses: Sequence[NoteKey]) -> list[Cosignature]:
    """Return the earliest cosignature of each of *witnesses* on *note*, whose own signature is not verified.

    Raises:
        InvalidReceipt: the note is malformed, or a line that names one of *witnesses* is not its cosignature.
    """
    try:
        parsed = checkpoint.parse(note, extensible=True)
    except ValueError:
        raise InvalidReceipt(ReceiptProblem.DAMAGED) from None
    found: dict[str, int] = {}
    for key in witnesses:
        for line in parsed.signatures:
            if line.is_of(key):
                seconds = _verified_time(key, line.signature, parsed.body)
                found[key.name] = min(seconds, found.get(key.name, seconds))
    return [Cosignature(*each) for each in found.items()]


def check_line(note: str, witness: str, line: str, witnesses: Sequence[NoteKey]) -> None:
    """Check that *line*, as it is stored, is a cosignature of *witness* on *note*; by its key if *witnesses* has it.

    Raises:
        InvalidReceipt, TypeError, ValueError: it is not.
    """
    found = SignatureLine.parse(line[:-1])
    if line[-1:] != "\n" or found.name != witness or len(found.signature) != _TIME.size + _SIGNATURE_BYTES:
        raise ValueError("not a cosignature")
    verify(note + line, witnesses)


def _verified_time(key: NoteKey, signature: bytes, body: str) -> int:
    """Return when *key* made the *signature*, in seconds since 1970.

    Raises:
        InvalidReceipt: it did not.
    """
    if len(signature) != _TIME.size + _SIGNATURE_BYTES:
        raise InvalidReceipt(ReceiptProblem.WRONG_COSIGNATURE)
    seconds: int = _TIME.unpack_from(signature)[0]
    if seconds * 1_000_000 >= END_OF_TIME:
        raise InvalidReceipt(ReceiptProblem.WRONG_COSIGNATURE)
    try:
        key.public.verify(signature[_TIME.size :], _signed_text(body, seconds))
    except InvalidSignature:
        raise InvalidReceipt(ReceiptProblem.WRONG_COSIGNATURE) from None
    return seconds


def _signed_text(body: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{body}".encode()
