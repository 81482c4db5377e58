"""The file of an HMAC keyring: one key a line, oldest first. The last one hashes new entries.

1404 3f0c...e1          a key: an id and 64 hexadecimal digits
1394 destroyed 2026-03-21   what is left of a destroyed key: nobody can find its entries by an identifier any more
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estelam.core.exceptions import named_error
from estelam.core.files import PRIVATE_FILE, write_atomic
from estelam.core.pem import KeyFileError

ID = "[0-9A-Za-z][0-9A-Za-z._-]{0,31}"
"""Regular expression of the ids that commands give to keys."""
_DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One line of a keyring file: a key, or that it was destroyed."""

    key_id: str
    key: bytes | None
    destroyed_on: date | None = None

    def __str__(self) -> str:
        if self.key is not None:
            return f"{self.key_id} {self.key.hex()}"
        return f"{self.key_id} {_DESTROYED} {self.destroyed_on}"


def read(path: Path) -> list[KeyLine]:
    """Return the lines of a keyring file.

    Raises:
        KeyFileError: a line is malformed, or an id occurs twice.
        OSError: the file can't be read.
    """
    with named_error(KeyFileError, f"{path}: each line must be a key id and 64 hexadecimal digits"):
        lines = [_parse(line) for line in path.read_text("ascii").splitlines() if line.strip()]
    if len({line.key_id for line in lines}) != len(lines):
        raise KeyFileError(f"{path}: a key id occurs twice")
    return lines


def write(path: Path, lines: Sequence[KeyLine]) -> None:
    """Replace the keyring file durably; only its owner may read the new one, whatever the permissions were.

    Raises:
        OSError: the file can't be written; it is unchanged.
    """
    write_atomic(path, "".join(f"{line}\n" for line in lines), durable=True, mode=PRIVATE_FILE)


def _parse(line: str) -> KeyLine:
    if found := re.fullmatch(rf"(\S+)\s+{_DESTROYED}\s+(\S+)", line.strip()):
        return KeyLine(found[1], None, date.fromisoformat(found[2]))
    key_id, digits = line.split()
    return KeyLine(key_id, bytes.fromhex(digits))
