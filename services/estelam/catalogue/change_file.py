"""Change files: that people have approved a state of the catalogue, as signed notes (C2SP signed-note; Ed25519).

    estelam/catalogue-change/v1
    number 2
    before 4c24fba0…
    after 9d2f3f1e…
    date 2026-12-01
    reason access for sample-bank

    — S. Rad gHq1…
    — M. Amini 0xK3…

They are in the folder `approved` of the catalogue, `000002.note` and so on. A change names the state that it is made
to and the one that it leads to, by the digests of the catalogue's files, and its place among all changes. So a note of
an earlier change covers no other state, and not the same state at another time.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from estelam.auth.grants import AccessConfigError
from estelam.core.model_files import read_text
from estelam.core.normalize import check_line
from estelam.core.note_keys import NAME, NoteKey
from estelam.core.pem import KeyFileError, read_private_key
from estelam.receipts.note import MAX_NOTE, SignatureLine, signature_line

FOLDER = "approved"
NEEDED = 2
"""Different approvers that a change needs."""
MAX_NUMBER = 999_999
MAX_REASON = 200
_HEADER = "estelam/catalogue-change/v1"
_NOTE = re.compile(
    rf"(?P<body>{_HEADER}\nnumber (?P<number>[1-9][0-9]{{0,5}})\nbefore (?P<before>[0-9a-f]{{64}})\n"
    r"after (?P<after>[0-9a-f]{64})\ndate (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})\nreason (?P<reason>[^\n]+)\n)"
    rf"\n(?P<lines>(?:— {NAME} \S+\n)+)"
)
_FILE = re.compile(r"([0-9]{6})\.note")


class ChangeFileError(AccessConfigError):
    """A change file can't be used, or does not cover the catalogue as it is."""


@dataclass(frozen=True, slots=True)
class CatalogueChange:
    """A change of the catalogue from one state to the next."""

    number: int
    """Its place among all changes, from 1."""
    before: str
    """The digest of the state that is changed; of the first change, that of its own."""
    after: str
    day: date
    """The day in Iran on which it was proposed."""
    reason: str

    @property
    def body(self) -> str:
        """The text that is signed."""
        return (
            f"{_HEADER}\nnumber {self.number}\nbefore {self.before}\nafter {self.after}\n"
            f"date {self.day.isoformat()}\nreason {self.reason}\n"
        )


@dataclass(frozen=True, slots=True)
class SignedChange:
    """A change with its signatures, none of which is verified; a new one has none yet."""

    change: CatalogueChange
    signatures: tuple[SignatureLine, ...]
    text: str
    """The note."""

    @property
    def names(self) -> list[str]:
        """The names that the signatures state, each once."""
        return list(dict.fromkeys(line.name for line in self.signatures))

    def is_signed_by(self, key: NoteKey) -> bool:
        """Return whether *key* has signed, under whatever name."""
        for line in self.signatures:
            with contextlib.suppress(InvalidSignature):
                key.public.verify(line.signature, self.change.body.encode())
                return True
        return False

    def approvers(self, known: Iterable[NoteKey]) -> list[str]:
        """Return those of *known* that have signed the change, each once.

        Raises:
            ChangeFileError: a line that names one of *known* is not its signature.
        """
        found = []
        for key in known:
            lines = [line for line in self.signatures if line.is_of(key)]
            for line in lines:
                try:
                    key.public.verify(line.signature, self.change.body.encode())
                except InvalidSignature:
                    raise ChangeFileError(
                        f"change {self.change.number}: the signature of {key.name} is wrong"
                    ) from None
            if lines:
                found.append(key.name)
        return found


@dataclass(frozen=True, slots=True)
class Approver:
    """A person's private key, with its name."""

    key: NoteKey
    private: Ed25519PrivateKey

    @classmethod
    def load(cls, name: str, path: Path) -> "Approver":
        """Read an Ed25519 private key from a PEM file.

        Raises:
            KeyFileError: the file holds no such key, or no key can have that name.
            OSError: the file can't be read.
        """
        private = read_private_key(path)
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(f"{path}: not an Ed25519 private key; make one: openssl genpkey -algorithm ed25519")
        if re.fullmatch(NAME, name) is None:
            raise KeyFileError(f"{name}: no key can have this name; give one without blanks and +")
        return cls(NoteKey(name, private.public_key()), private)

    def sign(self, change: CatalogueChange) -> str:
        """Return the line that signs *change*."""
        return signature_line(self.key, self.private.sign(change.body.encode()))


def new_change(number: int, before: str, after: str, day: date, reason: str) -> CatalogueChange:
    """Return a change to be signed.

    Raises:
        ValueError: the reason is not a text on one line, or the number is too large.
    """
    if number > MAX_NUMBER:
        raise ValueError(f"there are {MAX_NUMBER} changes already")
    return CatalogueChange(number, before, after, day, check_line(reason, MAX_REASON))


def change_path(folder: Path, number: int) -> Path:
    """Return the file of change *number* of the catalogue in *folder*."""
    return folder / FOLDER / f"{number:06}.note"


def change_numbers(folder: Path) -> list[int]:
    """Return the numbers of all changes of the catalogue in *folder*, ascending."""
    names = (_FILE.fullmatch(path.name) for path in (folder / FOLDER).glob("*.note"))
    return sorted(int(name[1]) for name in names if name)


def read_change(folder: Path, number: int) -> SignedChange:
    """Read change *number* of the catalogue in *folder*.

    Raises:
        ChangeFileError: the file can't be read, or is not exactly a change of that number.
    """
    path = change_path(folder, number)
    text = read_text(path, ChangeFileError, max_bytes=MAX_NOTE)
    found = _NOTE.fullmatch(text)
    try:
        if found is None:
            raise ValueError("is no change file")
        day = date.fromisoformat(found["date"])
        change = new_change(int(found["number"]), found["before"], found["after"], day, found["reason"])
        lines = tuple(map(SignatureLine.parse, found["lines"].removesuffix("\n").split("\n")))
    except ValueError:
        raise ChangeFileError(f"{path}: is no change file of the catalogue, or is damaged") from None
    if change.number != number:
        raise ChangeFileError(f"{path}: is of change {change.number}, not of {number}")
    return SignedChange(change, lines, text)
