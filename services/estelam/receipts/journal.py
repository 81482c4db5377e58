"""Receipt journal: an append-only file of replies to one input, which survives a crash of the machine at any byte."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, Self

from estelam.core.exceptions import UserFacingError
from estelam.core.files import open_atomic, sync_folder
from estelam.receipts.archive import MAX_LINE, ReceiptRecord, decode, encode
from estelam.receipts.problems import InvalidReceipt


class JournalError(UserFacingError):
    """The journal can't be used."""


class OtherInputError(JournalError):
    """The journal holds the replies to another input."""


def damaged_line(path: Path, number: int, cause: str) -> JournalError:
    """Return the error that line *number*, from 1, of the journal *path* is not as it was saved; *cause* says how."""
    return JournalError(
        f"{path}, line {number}: is damaged: {cause}; restore the file, or move it and its file {path.name}.of"
        " elsewhere and ask anew"
    )


class ReceiptJournal:
    """A journal that one process at a time may open, and only for the input that it was created for.

    Each reply is written to the operating system at once, so that a killed process loses none; `sync` protects against
    a crash of the machine. The digest of the input is stored in the file PATH.of, which is also the lock.

    Args:
        path: The journal.
        input_digest: The digest of the input, in ASCII.

    Raises:
        JournalError: another process has the journal open.
        OtherInputError: it holds the replies to another input.
        OSError: a file can't be opened or written.
    """

    def __init__(self, path: Path, *, input_digest: str) -> None:
        self._path = path
        binding = path.with_name(f"{path.name}.of")
        if path.exists() and not binding.exists():
            raise JournalError(f"{path} exists, but {binding.name}, which names its input, is missing")
        self._lock = binding.open("a+b", buffering=0)
        try:
            self._acquire(input_digest)
            self._file = path.open("ab", buffering=0)
            sync_folder(path.parent)  # a file that is synced, and whose name is not, is lost in a crash
        except BaseException:
            self._lock.close()
            raise
        self._end = 0
        self.set_aside: Path | None = None
        """The file with what `replay` removed from the end of the journal."""

    def _acquire(self, input_digest: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"another process has {self._path} open") from None
        self._lock.seek(0)
        bound = self._lock.read()
        if not self._path.exists() and not bound.strip(b"\0"):  # new, or zero-filled by a crash
            self._lock.truncate(0)
            self._lock.write(input_digest.encode("ascii"))
            os.fsync(self._lock.fileno())
        elif len(bound) != len(input_digest) or not bound.isalnum():
            raise JournalError(
                f"{self._path}.of: is damaged: it does not hold the digest of a list; restore it, or move it and"
                f" {self._path.name} elsewhere and ask anew"
            )
        elif bound != input_digest.encode("ascii"):
            raise OtherInputError(f"{self._path}: holds the replies to another input")

    def replay(self) -> Iterator[ReceiptRecord]:
        """Yield every reply stored so far.

        A crash of the machine leaves a last line that is cut short, or zeros in place of what was not yet on the disk.
        Everything from there on is moved into the file `set_aside`; the replies in it are missing from the journal.
        Where a saved reply follows the damage, it is no crash's, and nothing is moved. Call it once, before the first
        `append`, and consume it to its end.

        Raises:
            JournalError: a line was changed after it was saved, as far as reading shows; its receipt is not verified.
            OSError: a file can't be read or written.
        """
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if b"\0" in line or (not line.endswith(b"\n") and len(line) < MAX_LINE):
                    if any(map(_ends_in_reply, chain([line], _lines(file)))):
                        raise damaged_line(self._path, number, "it was cut or zero-filled, and saved replies follow it")
                    file.seek(self._end)
                    self._set_aside(file)
                    return
                try:
                    yield decode(line)
                except InvalidReceipt:
                    raise damaged_line(self._path, number, "it is not a reply as it was saved") from None
                self._end += len(line)

    def _set_aside(self, rest: BinaryIO) -> None:
        """Move the *rest* of the journal into a new file; it is on the disk before the journal is truncated."""
        names = (self._path.with_name(f"{self._path.name}.torn-{number}") for number in count(1))
        self.set_aside = next(path for path in names if not path.exists())
        with open_atomic(self.set_aside, durable=True) as copy:
            shutil.copyfileobj(rest, copy)
        self._file.truncate(self._end)
        self.sync()

    def append(self, item: ReceiptRecord) -> None:
        """Append *item*.

        Raises:
            OSError: it could not be written completely; nothing of it remains.
        """
        line = encode(item)
        if self._file.write(line) != len(line):
            self._file.truncate(self._end)
            raise OSError(f"{self._path}: a reply could not be written completely; is the disk full?")
        self._end += len(line)

    def sync(self) -> None:
        """Return only after everything appended is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Sync and close the journal, so that another process may open it."""
        try:
            self.sync()
        finally:
            self._file.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.readline(MAX_LINE), b"")


def _ends_in_reply(line: bytes) -> bool:
    try:
        decode(line.rpartition(b"\0")[2])
    except InvalidReceipt:
        return False
    return True
