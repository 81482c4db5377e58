"""Rejected rows and the CSV file that lists them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from estelam.core.exceptions import UsageError, describe_error
from estelam.core.files import open_regular
from estelam.loading.reject_texts import reject_text

MAX_LISTED = 100
"""Rejected rows that the result of a load lists; the file has all of them."""
_HEADER = ("row", "line", "column", "reason", "message", "message_fa")


class Reject(NamedTuple):
    """A rejected row; rows are numbered from 1, without the header and blank lines."""

    row: int
    column: str
    reason: str
    line: int | None = None
    """The line of the file in which the row begins, from 1 as an editor counts; None in Parquet."""

    def place(self) -> str:
        """Return where the row is, and why it was rejected, in both languages."""
        places = {"row": self.row, "line": self.line, "column": self.column}
        where, text = ", ".join(f"{name} {value}" for name, value in places.items() if value), reject_text(self.reason)
        return f"{where}: {text.en} / {text.fa}"


class RejectFile:
    """The file of rejected rows; it is created with the first one, and that of an earlier load is deleted at the start.

    Entering it raises UsageError where the path has another file, such as the data, or no folder. If the block raises,
    the file is incomplete, and is deleted.

    Args:
        path: Where it is written.
        data: The file that is loaded.
    """

    def __init__(self, path: Path, data: Path) -> None:
        self.path = path
        self._data = data
        self.count = 0
        self.first: list[Reject] = []
        """The first MAX_LISTED of them."""
        self._file: IO[str] | None = None
        self._writer: Any = None

    def __enter__(self) -> Self:
        self._check_replaceable()
        self.path.unlink(missing_ok=True)
        return self

    def _check_replaceable(self) -> None:
        if not self.path.parent.is_dir():
            raise UsageError(f"{self.path}: there is no folder for the rejected rows")
        header = ",".join(_HEADER).encode()
        try:
            if self.path.samefile(self._data):
                raise UsageError(f"{self.path}: is the file that is loaded; name another one with --rejects")
            with open_regular(self.path) as file:
                if file.readline(len(header) + 2).rstrip() == header:
                    return
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(describe_error(error)) from None
        raise UsageError(f"{self.path}: exists and is not a file of rejected rows; name another one with --rejects")

    def __exit__(self, error: object, *_: object) -> None:
        if self._file:
            self._file.close()
            if error:
                self.path.unlink()

    def add(self, rejects: Iterable[Reject]) -> None:
        """Append *rejects*."""
        for reject in rejects:
            if len(self.first) < MAX_LISTED:
                self.first.append(reject)
            if self._file is None:
                self._file = self.path.open("x", encoding="utf-8", newline="")
                self._writer = csv.writer(self._file)
                self._writer.writerow(_HEADER)
            text = reject_text(reject.reason)
            self._writer.writerow((reject.row, reject.line, reject.column, reject.reason, text.en, text.fa))
            self.count += 1
