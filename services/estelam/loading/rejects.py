"""Rejected rows and the CSV file that lists them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple, Self


class Reject(NamedTuple):
    """A rejected row; rows are numbered from 1, without the header."""

    row: int
    column: str
    reason: str


class RejectFile:
    """The file of rejected rows; it is created with the first one, and an old file is deleted at the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: IO[str] | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, rejects: Iterable[Reject]) -> None:
        """Append *rejects*."""
        for reject in rejects:
            if self._file is None:
                self._file = self.path.open("w", encoding="utf-8", newline="")
                self._writer = csv.writer(self._file)
                self._writer.writerow(Reject._fields)
            self._writer.writerow(reject)
            self.count += 1
