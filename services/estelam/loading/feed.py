"""What one kind of file holds, and how far a load may claim."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Table

from estelam.core.exceptions import UserFacingError
from estelam.loading.checks import Check


class LoadError(UserFacingError):
    """The file can't be loaded at all; nothing was changed. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What one kind of file holds and how its rows enter the store."""

    table: Table
    """Where its rows go: its columns and the number of the load that changed the row last."""
    columns: tuple[str, ...]
    """The header."""
    checks: tuple[Check, ...]
    """What a row must keep; the first that it breaks is told."""
    key: tuple[str, ...]
    """What no two rows of one file may share. A file speaks of all rows that share the first of these: what was known
    besides is no more."""
    consistent: tuple[str, ...] = ()
    """What rows that share the first of the key must have in common."""
    subjects: Mapping[str, str] = field(default_factory=dict)
    """The columns by which answers may have been given, by kind of subject."""
    full_snapshot: bool = False
    """Whether a file is always the whole register."""


@dataclass(frozen=True, slots=True)
class CoverageDeclaration:
    """What the loaded file lets the store claim: complete since a date, loaded through an instant. None: unchanged."""

    since: date | None = None
    through: datetime | None = None


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How a load ended; where there are rejects, nothing was changed."""

    rows: int
    rejected: int
    rejects: Path | None
    number: int | None = None
    """The load's own, where it was made."""
