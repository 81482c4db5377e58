"""What a service looks up in: loaded, empty, or out of reach; and the right to say no."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from estelam.core.errors import Reason

from .data import CaseRow, Coverage, Fixtures, Note
from .words import Declined


@dataclass(frozen=True)
class Store:
    """The facts as they were loaded."""

    notes: dict[str, Note]
    agencies: frozenset[str]
    cases: tuple[CaseRow, ...]
    coverage: Coverage | None
    max_staleness: timedelta
    window: timedelta

    @classmethod
    def of(cls, fixtures: Fixtures, *, loaded: bool) -> "Store":
        """All of *fixtures*, or nothing of them."""
        return cls(
            notes=fixtures.notes if loaded else {},
            agencies=fixtures.agencies if loaded else frozenset(),
            cases=fixtures.cases if loaded else (),
            coverage=fixtures.coverage if loaded else None,
            max_staleness=fixtures.max_staleness,
            window=fixtures.window,
        )

    def earn_no(self, now: datetime) -> None:
        """Decline unless the data is known to cover the question, and is fresh."""
        if self.coverage is None:
            raise Declined(Reason.COVERAGE_UNDECLARED)
        if self.coverage.through > now + timedelta(minutes=1):
            raise Declined(Reason.CLOCK_BEHIND)
        if now - self.coverage.through > self.max_staleness:
            raise Declined(Reason.DATA_STALE)
