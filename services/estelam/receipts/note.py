"""The signature lines of signed notes (C2SP signed-note)."""

import re
from typing import NamedTuple

from estelam.core.note_keys import KEY_HASH_BYTES, NAME, NoteKey, decode_base64, encode_base64

MAX_NOTE = 65_536
"""Characters of a note that are read: 16 signatures of the longest kind fit in."""
_SIGNATURE_LINE = re.compile(rf"— (?P<name>{NAME}) (?P<content>\S+)")


class SignatureLine(NamedTuple):
    """A signature as a note states it; it is not verified."""

    name: str
    key_hash: bytes
    signature: bytes

    @classmethod
    def parse(cls, line: str) -> "SignatureLine":
        """Return the signature in *line*, without its line feed.

        Raises:
            ValueError: it is malformed.
        """
        if (found := _SIGNATURE_LINE.fullmatch(line)) is None:
            raise ValueError("not a signature line")
        content = decode_base64(found["content"])
        if len(content) <= KEY_HASH_BYTES:
            raise ValueError("a signature is too short")
        return cls(found["name"], content[:KEY_HASH_BYTES], content[KEY_HASH_BYTES:])

    def is_of(self, key: NoteKey) -> bool:
        """Return whether the line names *key*; another key may have the same name or the same hash."""
        return (self.name, self.key_hash) == (key.name, key.hash)


def signature_line(key: NoteKey, signature: bytes) -> str:
    """Return the line that states the *signature* of *key*, with its line feed."""
    return f"— {key.name} {encode_base64(key.hash + signature)}\n"
