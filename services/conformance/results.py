"""Results of a run: each case's status, and whether the target conforms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from conformance.case import Case


class CaseStatus(StrEnum):
    """The result of one case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    KNOWN = "known to fail"
    """It failed and is on the list of known failures; the target still does not conform."""
    STALE = "known to fail, and passed"


@dataclass(frozen=True, slots=True)
class Failure:
    """One mismatch between a step's expected and actual result."""

    step: int
    """Counted from 1."""
    expected: str
    actual: str


@dataclass(slots=True)
class CaseResult:
    """A case, its status and its failures."""

    case: Case
    status: CaseStatus
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a whole run."""

    began: datetime
    seconds: float
    targets: Mapping[str, str]
    """The address of each tested instance."""
    results: Sequence[CaseResult]
    left_out: int = 0
    """Number of cases that `--only`, or a service without an address, excluded."""
    error: str = ""
    """Why no case could run, if none could."""

    def with_status(self, *statuses: CaseStatus) -> list[CaseResult]:
        """Return the results with one of *statuses*."""
        return [result for result in self.results if result.status in statuses]

    @property
    def conforms(self) -> bool:
        """Whether every case ran and passed."""
        return bool(self.results) and len(self.with_status(CaseStatus.PASSED)) == len(self.results)
