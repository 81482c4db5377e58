"""The facts: loaded, empty or unavailable; and the check that permits a NO."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from estelam.core.errors import Reason

from .data import CaseRow, Coverage, Fixtures, Note
from .refusal import Refused


@dataclass(frozen=True)
class Store:
    """The loaded facts."""

    loaded_notes: dict[str, Note]
    endorsements: dict[str, Note]
    endorsed_file: Path
    """The steering file with the serials of endorsed notes, which is read each time."""
    agencies: frozenset[str]
    cases: tuple[CaseRow, ...]
    coverage: Coverage | None
    max_staleness: timedelta
    window: timedelta

    @classmethod
    def of(cls, fixtures: Fixtures, endorsed_file: Path, *, loaded: bool) -> "Store":
        """Return a store with all of *fixtures*, or an empty one."""
        return cls(
            loaded_notes=fixtures.notes if loaded else {},
            endorsements=fixtures.endorsements if loaded else {},
            endorsed_file=endorsed_file,
            agencies=fixtures.agencies if loaded else frozenset(),
            cases=fixtures.cases if loaded else (),
            coverage=fixtures.coverage if loaded else None,
            max_staleness=fixtures.max_staleness,
            window=fixtures.window,
        )

    @property
    def notes(self) -> dict[str, Note]:
        """The notes as they are now, by serial."""
        endorsed = self.endorsed_file.read_text("ascii").split()
        return self.loaded_notes | {serial: note for serial, note in self.endorsements.items() if serial in endorsed}

    def require_coverage(self, now: datetime) -> None:
        """Refuse unless the data covers the inquiry and is fresh."""
        if self.coverage is None:
            raise Refused(Reason.COVERAGE_UNDECLARED)
        if self.coverage.through > now + timedelta(minutes=1):
            raise Refused(Reason.CLOCK_BEHIND)
        if now - self.coverage.through > self.max_staleness:
            raise Refused(Reason.DATA_STALE)
