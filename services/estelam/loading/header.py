"""Match the header of a data file with the columns of its feed."""

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from estelam.core.names import did_you_mean
from estelam.core.normalize import find_invisible, normalize_identifier
from estelam.loading.errors import LoadError
from estelam.loading.formats import ColumnFormat

SEPARATORS = ",;\t|"
"""Separators of fields; the header tells which one a file uses."""
_SHOWN = 40
"""Characters of an unknown column's name that a message shows."""


class NotTheHeaderError(LoadError):
    """The file has none of the columns that its kind needs."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file."""

    names: tuple[str, ...]
    """The normalized names of all columns."""
    positions: Mapping[str, int]
    """The position of each column that is read."""
    unnamed: range
    """Positions of the columns without a name that trailing separators make; their cells must be empty."""
    separator: str


def complete(cells: Mapping[str, Any], columns: Iterable[str], rows: int) -> dict[str, Any]:
    """Return *cells*, by column, in the order of *columns*, with *rows* empty cells for each column that they lack."""
    empty = pa.repeat(pa.scalar("", pa.string()), rows)
    return {name: cells.get(name, empty) for name in columns}


def parse_header(
    path: Path, line: int, text: str, columns: Mapping[str, ColumnFormat], ignored: Collection[str]
) -> Header:
    """Return the header in *text*, the given *line* of a CSV file.

    Raises:
        LoadError: a column is missing, unknown or named twice.
    """
    candidates = [(fields, separator) for separator in SEPARATORS if (fields := _split(text, separator))]
    if not candidates:
        raise LoadError(f"{path}: line {line}: the header has a quote that is not closed")
    fields, separator = max(candidates, key=lambda each: len({*map(_name, each[0])} & {*columns, *ignored}))
    return match_header(f"{path}: line {line}", fields, columns, ignored, separator)


def match_header(
    where: str,
    fields: Sequence[str],
    columns: Mapping[str, ColumnFormat],
    ignored: Collection[str],
    separator: str = ",",
) -> Header:
    """Return the header with the names *fields*, in any order; case, blanks and hyphens in names do not matter.

    Raises:
        LoadError: a column is missing, unknown or named twice; the message begins with *where*.
    """
    names = [_name(field) for field in fields]
    named = next((position for position in range(len(names), 0, -1) if names[position - 1]), 0)
    missing = [name for name, each in columns.items() if not each.omissible and name not in names]
    unknown = [
        _shown(field, position) + did_you_mean(name, columns)
        for position, (field, name) in enumerate(zip(fields[:named], names[:named], strict=True), 1)
        if name not in columns and name not in ignored
    ]
    twice = sorted({name for name in names if name in columns and names.count(name) > 1})
    if len(missing) == sum(not each.omissible for each in columns.values()):
        # Names are not quoted here: the line may be a row of data.
        raise NotTheHeaderError(
            f"{where}: is not a header with the names of the columns, which are: {','.join(columns)}"
        )
    problems = {"lacks": missing, "has the unknown column": unknown, "has twice": twice}
    if found := [f"{problem} {', '.join(given)}" for problem, given in problems.items() if given]:
        raise LoadError(f"{where}: the header {'; it '.join(found)}")
    positions = {name: position for position, name in enumerate(names) if name in columns}
    return Header(tuple(names), positions, range(named, len(names)), separator)


def _split(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator, strict=True), [])
    except csv.Error:
        return []


def _name(field: str) -> str:
    return re.sub("[ _-]+", "_", normalize_identifier(field).lower())


def _shown(field: str, position: int) -> str:
    if not field.strip() or find_invisible(field) is not None:
        return f"number {position}"
    return field.strip()[:_SHOWN]
