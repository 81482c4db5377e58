"""Descriptions of data files: columns, checks and keys of a feed; what is declared of a file; the result of a load."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table

from estelam.core.parties import Parties
from estelam.loading.checks import Check
from estelam.loading.formats import ColumnFormat
from estelam.loading.rejects import Reject
from estelam.storage.coverage import Coverage


class Claims(NamedTuple):
    """What a feed has declared so far."""

    complete_since: date | None
    tracking_since: date | None


@dataclass(frozen=True, slots=True)
class Feed:
    """One kind of data file, and how its rows enter the store."""

    name: str
    """The name of the kind, and of its feed unless another one is declared: several sources may deliver its files."""
    table: Table
    """The table of the rows: the columns of the file, and `load_number`, the load that last changed the row."""
    columns: Mapping[str, ColumnFormat]
    """The columns of the file, by name. A rejected row is reported with the first one that can't be read."""
    key: tuple[str, ...]
    """The columns that identify a row; no two rows of a file may have the same values in them. The rows that share the
    first key column are one record: a case with its parties. A record belongs to the feed that has delivered it."""
    checks: tuple[Check, ...] = ()
    """Checks of each row whose columns can all be read."""
    ignored: frozenset[str] = frozenset()
    """Columns that a file may also have; they are not read."""
    warnings: Mapping[str, Callable[[Any, "Claims"], ColumnElement[bool]]] = field(default_factory=dict)
    """Records that are loaded and counted in the result, by what is said of them: a condition on the columns of a row,
    given what the feed has declared."""
    consistent: tuple[str, ...] = ()
    """Columns whose values must be equal in all rows that share the value of the first key column."""
    subjects: Mapping[str, str] = field(default_factory=dict)
    """The column of each kind of subject that inquiries ask about; recall needs them."""
    identifiers: tuple[str, ...] = ()
    """The columns of long identifiers, which spreadsheets round."""
    full_snapshot: bool = False
    """Whether a file always has all rows of its kind, so that the kind has one feed only, which has its name."""
    other_kinds: frozenset[str] = frozenset()
    """The names of the service's other kinds of file, which no feed of this kind has."""
    first_date: date = date.min
    """The date from which a whole file is complete if it declares none."""
    is_dated: bool = False
    """Whether its records are cases: a file may declare dates from which it is complete, and has rows of parties."""

    @property
    def optional_columns(self) -> frozenset[str]:
        """The columns that a file may lack, unless an earlier file of its feed had them."""
        return frozenset(name for name, column in self.columns.items() if column.omissible)

    @property
    def full_snapshot_kinds(self) -> frozenset[str]:
        """The feeds of the kinds that have one feed only; coverage follows from them only if the settings say so."""
        return frozenset({self.name}) if self.full_snapshot else self.other_kinds

    def parties(self, declared: "Declaration") -> Parties | None:
        """Return how a file so declared treats the stored parties of its cases; None if its rows are no parties."""
        if not self.is_dated:
            return None
        return declared.parties or (Parties.REPLACED if declared.whole else Parties.MERGED)

    def names(self, required_feeds: Sequence[str]) -> tuple[str, ...]:
        """Return the names that a feed of this kind may have, where coverage needs *required_feeds*."""
        if self.full_snapshot:
            return (self.name,)
        return tuple(name for name in required_feeds if name not in self.other_kinds)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is declared of a file, by its manifest or by the operator."""

    feed: str
    """The name of the feed."""
    cut_at: datetime
    """The instant at which the source cut the file from its register: it has all changes up to then."""
    number: int | None = None
    """The file's number in the feed; None: the next one."""
    whole: bool = False
    """Whether the file has all rows of its feed, so that stored rows it lacks are removed; otherwise only changes."""
    complete_since: date | None = None
    """The first date from which the feed is complete; None: as declared before."""
    tracking_since: date | None = None
    """The first date from which the feed links cases to certificates; None: as declared before."""
    parties: Parties | None = None
    """None: merged in a file of changes, replaced in a whole one."""
    rows: int | None = None
    """The number of rows; None: not declared."""
    sha256: str | None = None
    """The SHA-256 of the file, in hexadecimal digits; None: not declared."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a load may change, and how coverage follows from it."""

    required_feeds: tuple[str, ...]
    """The feeds that coverage needs; no others are loaded, except those of kinds that have one feed only."""
    change_limit: float
    """The greatest share of the feed's stored rows that a file may change or remove."""
    taken_feed: str | None = None
    """Another feed whose records become records of the file's feed if they are in the file; None: none may be."""
    allow_removals: int = 0
    """The number of rows that may be changed or removed whatever their share."""
    dry_run: bool = False
    """Whether to stop before anything is changed."""
    allow_known_content: bool = False
    """Whether a new file may have the content of an earlier one, whose rows are to hold again."""
    allow_round_identifiers: bool = False
    """Whether identifiers that look as if a spreadsheet had rounded them are accepted."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a load changes in the stored rows."""

    added: int
    changed: int
    unchanged: int
    removed: int
    parties_dropped: int = 0
    """Those of the removed rows whose case the file names."""
    taken_over: int = 0
    """Rows that another feed had delivered, and that are now of the file's feed."""
    cases_of_several_files: int = 0
    """Cases to which the file adds a party, and that keep parties of earlier files which it lacks."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load; if any row was rejected, nothing was changed."""

    rows: int
    rejected: int = 0
    rejects: Path | None = None
    """The file that lists the rejected rows."""
    first_rejects: Sequence[Reject] = ()
    """The first rejected rows."""
    changes: Changes | None = None
    """What the load has changed or, in a dry run, would change; None: nothing."""
    number: int | None = None
    """The number of the load, if it was committed, now or earlier."""
    feed_number: int | None = None
    """The number of the file in its feed."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """The number of records of the file that each warning of the feed is about."""
    coverage: Coverage | None = None
    """The coverage of the store after the load or, in a dry run, after a load like it; None: none is declared."""
    already_loaded: bool = False
    """Whether this very file was loaded earlier as the same number of the feed; then nothing was done."""
