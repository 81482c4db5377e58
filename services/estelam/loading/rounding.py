"""Data files whose identifiers a spreadsheet has rounded: a record under a rounded identifier is not found."""

from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from estelam.core.rounding import SPREADSHEET_DIGITS, RoundingCount, chance
from estelam.loading.errors import LoadError
from estelam.loading.feed import Feed

# One genuine identifier may well end in zeros.
_AT_LEAST = 2
# Up to so many records are counted once each; in a larger file, where chance matters more, rows are counted.
_MAX_DISTINCT_RECORDS = 10_000


class RoundingCheck:
    """Counts the identifiers of a file that may be rounded, once for each record of *feed*.

    A spreadsheet rounds numbers alone, so identifiers with letters are not counted.
    """

    def __init__(self, feed: Feed) -> None:
        self._record = feed.key[0]
        self._counts = {name: RoundingCount() for name in feed.identifiers}
        self._seen: set[tuple[str, str]] = set()

    def add(self, columns: Mapping[str, Any]) -> None:
        """Count the identifiers in a batch of rows."""
        for name, count in self._counts.items():
            column = columns[name]
            digits = column.filter(pc.match_substring_regex(column, "^[0-9]+$"))
            for found in pc.value_counts(pc.binary_length(digits)).to_pylist():
                count.expected += found["counts"] * chance(found["values"])
            rounded = pc.match_substring_regex(column, f"^[0-9]{{{SPREADSHEET_DIGITS}}}0+$")
            for record in columns[self._record].filter(rounded).to_pylist():
                if (name, record) not in self._seen:
                    count.count += 1
                    if len(self._seen) < _MAX_DISTINCT_RECORDS:
                        self._seen.add((name, record))

    def refuse(self) -> None:
        """Raise LoadError if more identifiers of a column end in zeros than chance explains."""
        for name, count in self._counts.items():
            if count.is_likely and count.count >= _AT_LEAST:
                raise LoadError(
                    f"{name}: {count.count:,} values end in zeros from their {SPREADSHEET_DIGITS + 1}th digit on, as a "
                    "spreadsheet rounds long numbers, so that records would be merged or not found; export the column "
                    "as text, or, if the values are as the register has them, load the file with --allow-round-ids"
                )
