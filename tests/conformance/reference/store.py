"""The facts: loaded, empty or unavailable; and the check that permits a NO."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from estelam.core.errors import Reason

from .data import CaseRow, Coverage, Fixtures, Note, to_case, to_note
from .refusal import Refused


@dataclass(frozen=True)
class Store:
    """The loaded facts."""

    loaded_notes: dict[str, Note]
    loaded_agencies: frozenset[str]
    loaded_cases: tuple[CaseRow, ...]
    changes_file: Path
    """The steering file with the changes of the data, which is read each time."""
    coverage: Coverage | None
    max_staleness: timedelta
    window: timedelta

    @classmethod
    def of(cls, fixtures: Fixtures, changes_file: Path, *, loaded: bool) -> "Store":
        """Return a store with all of *fixtures*, or an empty one."""
        return cls(
            loaded_notes=fixtures.notes if loaded else {},
            loaded_agencies=fixtures.agencies if loaded else frozenset(),
            loaded_cases=fixtures.cases if loaded else (),
            changes_file=changes_file,
            coverage=fixtures.coverage if loaded else None,
            max_staleness=fixtures.max_staleness,
            window=fixtures.window,
        )

    @property
    def notes(self) -> dict[str, Note]:
        """The notes as they are now, by serial."""
        changed = self._changed("notes")
        kept = {serial: note for serial, note in self.loaded_notes.items() if serial not in changed}
        return kept | {serial: to_note(row) for serial, rows in changed.items() for row in rows}

    @property
    def agencies(self) -> frozenset[str]:
        """The member agencies as they are now."""
        changed = self._changed("agencies")
        return (self.loaded_agencies - changed.keys()) | {agency for agency, rows in changed.items() if rows}

    @property
    def cases(self) -> list[CaseRow]:
        """The parties of cases as they are now."""
        changed = self._changed("cases")
        kept = [row for row in self.loaded_cases if row.case_number not in changed]
        return [*kept, *(to_case(row) for rows in changed.values() for row in rows)]

    def _changed(self, data: str) -> dict[str, list[dict[str, str]]]:
        """Return the rows that replace the loaded ones, by their key."""
        changes = [json.loads(line) for line in self.changes_file.read_text("utf-8").splitlines()]
        loaded = self.coverage is not None
        return {change["key"]: change["rows"] for change in changes if loaded and change["data"] == data}

    def require_coverage(self, now: datetime) -> None:
        """Refuse unless the data covers the inquiry and is fresh."""
        if self.coverage is None:
            raise Refused(Reason.COVERAGE_UNDECLARED)
        if self.coverage.through > now + timedelta(minutes=1):
            raise Refused(Reason.CLOCK_BEHIND)
        if now - self.coverage.through > self.max_staleness:
            raise Refused(Reason.DATA_STALE)
