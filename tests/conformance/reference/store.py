"""The facts: loaded, empty or unavailable; and the check that permits a NO."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from estelam.core.errors import Reason

from .data import CaseRow, Coverage, Fixtures, Note
from .refusal import Refused


@dataclass(frozen=True)
class Store:
    """The loaded facts."""

    notes: dict[str, Note]
    agencies: frozenset[str]
    cases: tuple[CaseRow, ...]
    coverage: Coverage | None
    max_staleness: timedelta
    window: timedelta

    @classmethod
    def of(cls, fixtures: Fixtures, *, loaded: bool) -> "Store":
        """Return a store with all of *fixtures*, or an empty one."""
        return cls(
            notes=fixtures.notes if loaded else {},
            agencies=fixtures.agencies if loaded else frozenset(),
            cases=fixtures.cases if loaded else (),
            coverage=fixtures.coverage if loaded else None,
            max_staleness=fixtures.max_staleness,
            window=fixtures.window,
        )

    def require_coverage(self, now: datetime) -> None:
        """Refuse unless the data covers the inquiry and is fresh."""
        if self.coverage is None:
            raise Refused(Reason.COVERAGE_UNDECLARED)
        if self.coverage.through > now + timedelta(minutes=1):
            raise Refused(Reason.CLOCK_BEHIND)
        if now - self.coverage.through > self.max_staleness:
            raise Refused(Reason.DATA_STALE)
