"""Rejected rows and the CSV file that lists them."""

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from estelam.core.exceptions import UsageError, describe_error
from estelam.core.files import open_atomic, open_regular
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
    """The file of rejected rows. A clean exit writes it, or deletes that of an earlier load if no row was rejected.

    Only a file that holds nothing but what this class writes is ever replaced or deleted: entering raises UsageError
    where the path has anything else, such as the data, or no folder. If the block raises, nothing is changed.

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
        self._draft = ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Self:
        self._check_replaceable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error:
            self._draft.__exit__(kind, error, traceback)
            return
        with self._draft:
            if self._check_replaceable() and not self._writer:
                self.path.unlink()

    def _check_replaceable(self) -> bool:
        """Return whether there is a file of rejected rows, which may be replaced.

        Raises:
            UsageError: there is another one, or no folder.
        """
        if not self.path.parent.is_dir():
            raise UsageError(f"{self.path}: there is no folder for the rejected rows")
        if self.path.is_symlink():
            raise UsageError(f"{self.path}: is a symbolic link; name another file with --rejects")
        try:
            if self.path.exists() and self._data.exists() and self.path.samefile(self._data):
                raise UsageError(f"{self.path}: is the file that is loaded; name another one with --rejects")
            with open_regular(self.path) as file:
                if _has_rejects_only(file):
                    return True
        except FileNotFoundError:
            return False
        except OSError as error:
            raise UsageError(describe_error(error)) from None
        raise UsageError(f"{self.path}: exists and is not a file of rejected rows; name another one with --rejects")

    def add(self, rejects: Iterable[Reject]) -> None:
        """Append *rejects*."""
        for reject in rejects:
            if len(self.first) < MAX_LISTED:
                self.first.append(reject)
            if self._writer is None:
                file = self._draft.enter_context(open_atomic(self.path, encoding="utf-8", newline=""))
                self._writer = csv.writer(file)
                self._writer.writerow(_HEADER)
            self._writer.writerow(_cells(reject.row, reject.line, reject.column, reject.reason))
            self.count += 1


def _cells(row: object, line: object, column: str, reason: str) -> Sequence[object]:
    text = reject_text(reason)
    return row, line, column, reason, text.en, text.fa


def _has_rejects_only(file: IO[bytes]) -> bool:
    """Return whether *file* holds what `RejectFile` writes, and nothing else."""
    with io.TextIOWrapper(file, "utf-8", newline="") as text:
        rows = csv.reader(text, strict=True)
        try:
            return next(rows, None) == list(_HEADER) and all(map(_is_reject, rows))
        except (csv.Error, UnicodeDecodeError):
            return False


def _is_reject(row: list[str]) -> bool:
    return len(row) == len(_HEADER) and row == list(_cells(*row[:4])) and "".join(row[:2]).isdecimal()
