"""A batch of rows of a data file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from estelam.loading.formats import TOO_LONG
from estelam.loading.rejects import Reject

MAX_FIELD = 1000
"""Characters of a field, at most."""
ROWS = 10_000
"""Rows of a batch, if they are read one by one."""
NOT_UTF8 = "NOT_UTF8"


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a file, without the malformed ones."""

    numbers: Any
    """Their row numbers in the file, from 1 (int64 array)."""
    columns: dict[str, Any]
    """Their values by column (string arrays)."""
    rejects: list[Reject]
    """The malformed rows."""
    read: int
    """Bytes of the file read so far."""
    first: int
    """The number of the first row, malformed or not."""
    lines: Sequence[int] | None
    """The line in which each row begins, malformed ones included; None in Parquet."""

    def reject(self, row: int, column: str, reason: str) -> Reject:
        """Return the reject of the row with the number *row*."""
        return Reject(row, column, reason, self.line(row))

    def holds(self, row: int) -> bool:
        """Return whether the row with the number *row*, malformed or not, is in this batch."""
        return bool(len(self.numbers)) and row <= self.numbers[-1].as_py()

    def line(self, row: int) -> int | None:
        """Return the line in which the row with the number *row* begins."""
        return self.lines[row - self.first] if self.lines else None

    def without_invalid_text(self) -> "Batch":
        """Return the rows whose fields are UTF-8 and not too long; reject the others."""
        invalid: dict[int, Reject] = {}
        for name, column in self.columns.items():
            for index, reason in _invalid_fields(column):
                invalid.setdefault(index, self.reject(self.numbers[index].as_py(), name, reason))
        valid = self._without(invalid) if invalid else self
        return replace(valid, columns={name: column.cast(pa.string()) for name, column in valid.columns.items()})

    def _without(self, invalid: dict[int, Reject]) -> "Batch":
        passed = pa.array([index not in invalid for index in range(len(self.numbers))], pa.bool_())
        return replace(
            self,
            numbers=self.numbers.filter(passed),
            columns={name: column.filter(passed) for name, column in self.columns.items()},
            rejects=sorted([*self.rejects, *invalid.values()]),
        )


def _invalid_fields(column: Any) -> Iterator[tuple[int, str]]:
    """Yield index and reason of every value that is not UTF-8 or too long."""
    if pa.types.is_binary(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            for index, value in enumerate(column.to_pylist()):
                text = value.decode("utf-8", "replace")
                if len(text) > MAX_FIELD or text.encode() != value:
                    yield index, TOO_LONG if len(text) > MAX_FIELD else NOT_UTF8
            return
    if (pc.max(pc.binary_length(column)).as_py() or 0) > MAX_FIELD:
        lengths = pc.utf8_length(column).to_pylist()
        yield from ((index, TOO_LONG) for index, length in enumerate(lengths) if length > MAX_FIELD)
