"""What came of a run: each case's standing, and whether the target conforms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from conformance.case import Case


class Standing(StrEnum):
    """What came of one case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    KNOWN = "known to fail"
    """It failed as the list of known failures says; it still does not conform."""
    STALE = "known to fail, and passed"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that was not as it must be."""

    step: int
    """Counted from 1."""
    expected: str
    seen: str


@dataclass(slots=True)
class Result:
    """What came of one case."""

    case: Case
    standing: Standing
    seconds: float = 0.0
    complaints: list[Complaint] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a whole run."""

    began: datetime
    seconds: float
    targets: Mapping[str, str]
    """The address of each instance that was given."""
    results: Sequence[Result]
    left_out: int = 0
    """Cases that `--only`, or a service without an address, kept out."""
    trouble: str = ""
    """Why no case could run, where none could."""

    def having(self, *standings: Standing) -> list[Result]:
        """The results of these standings."""
        return [result for result in self.results if result.standing in standings]

    @property
    def conforms(self) -> bool:
        """Whether every case ran and passed."""
        return bool(self.results) and len(self.having(Standing.PASSED)) == len(self.results)
