"""Ed25519 keys that sign notes, by name, in the forms of C2SP (signed-note, tlog-cosignature)."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from estelam.core.pem import KeyFileError

NAME = r"[^\s+]+"
"""Regular expression of the names of keys."""
KEY_HASH_BYTES = 4
_PUBLIC_KEY_BYTES = 32
_VERIFIER_KEY = re.compile(rf"(?P<name>{NAME})\+(?P<hash>[0-9a-f]{{8}})\+(?P<content>\S+)")


class KeyKind(IntEnum):
    """What a key signs: the byte of its signature type."""

    NOTE = 1
    """The text of notes, as a ledger's key."""
    COSIGNATURE = 4
    """Checkpoints of others, with the time, as a witness's key (C2SP tlog-cosignature)."""


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key with the name under which it signs."""

    name: str
    public: Ed25519PublicKey
    kind: KeyKind = KeyKind.NOTE

    @property
    def hash(self) -> bytes:
        """The 4 bytes by which a signature line names the key."""
        content = self.name.encode() + b"\n" + bytes([self.kind]) + self.public.public_bytes_raw()
        return hashlib.sha256(content).digest()[:KEY_HASH_BYTES]

    def __str__(self) -> str:
        """Return the verifier key as C2SP's tools take it: name, key hash and key."""
        content = bytes([self.kind]) + self.public.public_bytes_raw()
        return f"{self.name}+{self.hash.hex()}+{encode_base64(content)}"

    @classmethod
    def parse(cls, text: str, kind: KeyKind) -> "NoteKey":
        """Return the key of *kind* that the verifier key *text* states.

        Raises:
            ValueError: it is not one; the text says why.
        """
        if (found := _VERIFIER_KEY.fullmatch(text)) is None:
            raise ValueError("not a verifier key: give NAME+HASH+KEY as its owner prints it")
        content = decode_base64(found["content"])
        if content[:1] != bytes([kind]) or len(content) != 1 + _PUBLIC_KEY_BYTES:
            raise ValueError(f"the verifier key of {found['name']} is not an Ed25519 key that {_SIGNS[kind]}")
        key = cls(found["name"], Ed25519PublicKey.from_public_bytes(content[1:]), kind)
        if key.hash.hex() != found["hash"]:
            raise ValueError(f"the verifier key of {key.name} is damaged: its hash is not that of its name and key")
        return key


_SIGNS = {KeyKind.NOTE: "signs notes", KeyKind.COSIGNATURE: "cosigns them"}


def read_keys(path: Path, kind: KeyKind) -> list[NoteKey]:
    """Return the verifier keys in a file, one a line; empty lines and those that begin with # are skipped.

    Raises:
        KeyFileError: a line is no verifier key of *kind*, or there is none.
        OSError: the file can't be read.
    """
    try:
        found = list(_parse_lines(path.read_text("utf-8"), kind))
    except ValueError as error:
        raise KeyFileError(f"{path}: {error}") from None
    if not found:
        raise KeyFileError(f"{path}: holds no verifier key")
    return found


def _parse_lines(text: str, kind: KeyKind) -> Iterator[NoteKey]:
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            yield NoteKey.parse(line, kind)


def encode_base64(content: bytes) -> str:
    """Return *content* in base64."""
    return base64.b64encode(content).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes that *text* is the one base64 form of.

    Raises:
        ValueError: it is not.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if encode_base64(content) != text:
        raise ValueError("not the canonical base64 form")
    return content
