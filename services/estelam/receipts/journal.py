"""An append-only file of saved replies that belongs to one list of questions and survives being cut off anywhere."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from estelam.core.exceptions import UserFacingError
from estelam.receipts.archive import MAX_LINE, ReceiptRecord, decode, encode
from estelam.receipts.receipt import InvalidReceipt


class JournalError(UserFacingError):
    """The journal can't be used; the text is for the operator."""


class ReceiptJournal:
    """Open for one process at a time, and only for the list of questions it was begun for.

    Each reply is handed to the operating system as it comes, so that a killed process loses none; `sync` guards against
    a lost machine. *about* is the digest of the questions: it stands in a file beside, PATH.of, which is also the lock.
    """

    def __init__(self, path: Path, *, about: str) -> None:
        self._path = path
        binding = path.with_name(f"{path.name}.of")
        if path.exists() and not binding.exists():
            raise JournalError(f"{path} is there already, and {binding.name}, which says what it is of, is not")
        self._lock = binding.open("a+b", buffering=0)
        try:
            self._bind(about)
            self._file = path.open("ab", buffering=0)
        except BaseException:
            self._lock.close()
            raise
        self._end = 0

    def _bind(self, about: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"another process is at work on {self._path}") from None
        self._lock.seek(0)
        bound = self._lock.read()
        if not bound and not self._path.exists():
            self._lock.write(about.encode("ascii"))
            os.fsync(self._lock.fileno())
        elif bound != about.encode("ascii"):
            raise JournalError(f"{self._path} belongs to another input")

    def replay(self) -> Iterator[ReceiptRecord]:
        """Every reply kept so far; a last line that was cut short is cut off. To be run to its end once, and first.

        Raises:
            JournalError: a whole line is not as it was saved.
        """
        with self._path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
                if not line.endswith(b"\n") and len(line) < MAX_LINE:
                    self._file.truncate(self._end)
                    return
                try:
                    yield decode(line)
                except InvalidReceipt as error:
                    raise JournalError(f"{self._path}, line {number}: {error}") from None
                self._end += len(line)

    def append(self, item: ReceiptRecord) -> None:
        """Keep *item*.

        Raises:
            OSError: it could not be kept whole, and nothing of it is.
        """
        line = encode(item)
        if self._file.write(line) != len(line):
            self._file.truncate(self._end)
            raise OSError(f"{self._path}: a reply could not be written whole; is the disk full?")
        self._end += len(line)

    def sync(self) -> None:
        """Return only when all that was kept is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Keep all, and let another process have it."""
        try:
            self.sync()
        finally:
            self._file.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
