"""Data files whose identifiers a spreadsheet has rounded: a record under a rounded identifier is not found."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import Column, Connection, Table, case, distinct, func, select

from estelam.core.rounding import SPREADSHEET_DIGITS, RoundingCount
from estelam.loading.errors import LoadError

# The decimal logarithm of the chance from which on identifiers are reported as maybe rounded, and a file is refused.
_DOUBTFUL, _CERTAIN = -2, -6
MAYBE_ROUNDED = "maybe_rounded_"
"""The beginning of the name of a warning, before the column's name."""


class RoundingCheck:
    """Finds *identifiers*, columns of a file, that may be rounded, of records that the column *record* identifies.

    A spreadsheet rounds numbers alone, so identifiers with letters are not counted. While the file is read, the rows
    are counted, which is fast; where chance hardly explains what is found, the records are, since the rows of a record
    have the same identifiers.
    """

    def __init__(self, record: str, identifiers: Iterable[str]) -> None:
        self._record = record
        self._rows = {name: RoundingCount() for name in identifiers}

    def add(self, columns: Mapping[str, Any]) -> None:
        """Count the identifiers in a batch of rows."""
        for name, count in self._rows.items():
            column = columns[name]
            digits = column.filter(pc.ascii_is_decimal(column))
            for found in pc.value_counts(pc.binary_length(digits)).to_pylist():
                count.add_identifiers(found["values"], found["counts"])
            # A quick filter: a regular expression takes ten times as long.
            even = digits.filter(pc.ends_with(digits, "0"))
            rounded = pc.match_substring_regex(even, f"^[0-9]{{{SPREADSHEET_DIGITS}}}0+$")
            count.count += pc.sum(rounded).as_py() or 0

    def doubtful(self, connection: Connection, rows: Table) -> dict[str, int]:
        """Return the number of records in *rows* whose identifier may be rounded, for each doubtful column.

        Raises:
            LoadError: a column's count is certainly not due to chance.
        """
        found = {}
        for name, by_row in self._rows.items():
            if by_row.log_chance > _DOUBTFUL:
                continue
            count = _count_records(connection, rows.c[self._record], rows.c[name])
            if count.log_chance <= _CERTAIN:
                raise LoadError(
                    f"{name}: {count.count:,} of {count.total:,} values end in zeros from their "
                    f"{SPREADSHEET_DIGITS + 1}th digit on, as a spreadsheet rounds long numbers, so that records would "
                    "be merged or not found; export the column as text, or, if the values are as the register has "
                    "them, load the file with --allow-round-ids"
                )
            if count.log_chance <= _DOUBTFUL:
                found[f"{MAYBE_ROUNDED}{name}"] = count.count
        return found


def _count_records(connection: Connection, record: Column[Any], identifier: Column[Any]) -> RoundingCount:
    length = func.length(identifier)
    is_rounded = func.rtrim(func.substr(identifier, SPREADSHEET_DIGITS + 1), "0") == ""
    query = (
        select(length, func.count(distinct(record)), func.count(distinct(case((is_rounded, record)))))
        .where(length > SPREADSHEET_DIGITS, func.ltrim(identifier, "0123456789") == "")
        .group_by(length)
    )
    count = RoundingCount()
    for digits, records, rounded in connection.execute(query):
        count.add_identifiers(digits, records)
        count.count += rounded
    return count
