"""Descriptions of data files: columns, checks and keys of a feed, and the coverage that a load declares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Table

from estelam.core.exceptions import UserFacingError
from estelam.loading.checks import Check
from estelam.loading.formats import ColumnFormat


class LoadError(UserFacingError):
    """The file can't be loaded; nothing was changed. The message is for the operator."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of data file, and how its rows enter the store."""

    name: str
    """The name of the feed if nothing else is declared."""
    table: Table
    """The table of the rows: the columns of the file, and `load_number`, the load that last changed the row."""
    columns: Mapping[str, ColumnFormat]
    """The columns of the file, by name. A rejected row is reported with the first one that can't be read."""
    key: tuple[str, ...]
    """The columns that identify a row; no two rows of a file may have the same values in them. A file replaces all
    stored rows that share the first key column with one of its rows."""
    checks: tuple[Check, ...] = ()
    """Checks of each row whose columns can all be read."""
    ignored: frozenset[str] = frozenset()
    """Columns that a file may also have; they are not read."""
    consistent: tuple[str, ...] = ()
    """Columns whose values must be equal in all rows that share the value of the first key column."""
    subjects: Mapping[str, str] = field(default_factory=dict)
    """The column of each kind of subject that inquiries ask about; recall needs them."""
    full_snapshot: bool = False
    """Whether a file always contains the complete data, so that stored rows it lacks are deleted."""


@dataclass(frozen=True, slots=True)
class CoverageDeclaration:
    """The coverage that a load declares: complete from *since* on, loaded up to *through*. None leaves it unchanged."""

    since: date | None = None
    through: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load; if any row was rejected, nothing was changed."""

    rows: int
    rejected: int
    rejects: Path | None
    """The file that lists the rejected rows."""
    number: int | None = None
    """The number of the load, if it was committed."""
