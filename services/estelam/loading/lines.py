"""Lines of a text file, of bounded length, whatever the file holds."""

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

LINE = 1 << 20
"""Characters of a line, and of the lines of one row, at most."""
MAX_HEADER = 1 << 14
"""Characters of the line that names the columns, at most."""
LONG_HEADER = f"is longer than {MAX_HEADER:,} characters, so it does not name the columns"


class LongRowError(Exception):
    """A line, or the lines of one row, are longer than a row can be; nothing more is read."""

    def __init__(self) -> None:
        super().__init__(f"is longer than {LINE} characters")


class Lines(Iterator[str]):
    """The lines of *file*, with their ends: LF, CR or CRLF.

    Args:
        file: The file, in binary.
        encoding: Its encoding.
        errors: What becomes of bytes that are not of the encoding, as for `open`.
    """

    def __init__(self, file: BinaryIO | io.BufferedIOBase, encoding: str = "utf-8", *, errors: str = "strict") -> None:
        self._text = io.TextIOWrapper(cast("BinaryIO", file), encoding, errors, newline="")
        self.length = 0
        """Characters of the row so far."""
        self.ended = True
        """Whether the last line had a line end."""

    def begin_row(self) -> None:
        """Begin a row with the next line."""
        self.length = 0

    def __next__(self) -> str:
        line = self._text.readline(LINE)
        if not line:
            raise StopIteration
        self.ended = line[-1] in "\r\n"
        self.length += len(line)
        # After CR, the LF of the same line end may follow.
        if self.length > LINE or (len(line) == LINE and line[-1] != "\n"):
            raise LongRowError
        return line
