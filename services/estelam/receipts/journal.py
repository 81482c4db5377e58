"""Receipt journal: an append-only file of replies to one input, which survives truncation at any byte."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from estelam.core.exceptions import UserFacingError
from estelam.core.files import sync_folder
from estelam.receipts.archive import MAX_LINE, ReceiptRecord, decode, encode
from estelam.receipts.receipt import InvalidReceipt


class JournalError(UserFacingError):
    """The journal can't be used."""


class ReceiptJournal:
    """A journal that one process at a time may open, and only for the input that it was created for.

    Each reply is written to the operating system at once, so that a killed process loses none; `sync` protects against
    a crash of the machine. The digest of the input is stored in the file PATH.of, which is also the lock.

    Args:
        path: The journal.
        input_digest: The digest of the input, in ASCII.

    Raises:
        JournalError: another process has the journal open, or it belongs to another input.
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

    def _acquire(self, input_digest: str) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"another process has {self._path} open") from None
        self._lock.seek(0)
        bound = self._lock.read()
        if not bound and not self._path.exists():
            self._lock.write(input_digest.encode("ascii"))
            os.fsync(self._lock.fileno())
        elif bound != input_digest.encode("ascii"):
            raise JournalError(f"{self._path} belongs to another input")

    def replay(self) -> Iterator[ReceiptRecord]:
        """Yield every reply stored so far, and remove a last line that was cut short.

        Call it once, before the first `append`, and consume it to its end.

        Raises:
            JournalError: a complete line was changed after it was saved.
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
