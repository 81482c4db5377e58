"""Results of a run: each case's status, and the verdict on each profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from conformance.case import Case
from conformance.profile import Profile


class CaseStatus(StrEnum):
    """The result of one case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    KNOWN = "known to fail"
    """It failed and is on the list of known failures; the target still does not conform."""
    STALE = "known to fail, and passed"


class Outcome(StrEnum):
    """The verdict on a profile."""

    CONFORMS = "CONFORMS"
    FAILS = "DOES NOT CONFORM"
    PARTIAL = "PARTIAL RUN"
    """What ran has passed, and some cases of the profile were left out: nothing is said about the whole."""
    NOT_RUN = "COULD NOT RUN"


@dataclass(frozen=True, slots=True)
class Failure:
    """One mismatch between a step's expected and actual result."""

    step: int
    """Counted from 1."""
    expected: str
    actual: str
    clause: str
    """The clause that demands it: the case's, or that of a check which is made of every reply."""
    profile: Profile
    """The profile that demands it."""


@dataclass(slots=True)
class CaseResult:
    """A case, its status and its failures."""

    case: Case
    status: CaseStatus
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def passes(self, profile: Profile) -> bool:
        """Return whether the case ran and met the demands of *profile*."""
        if self.status not in {CaseStatus.FAILED, CaseStatus.KNOWN}:
            return self.status is CaseStatus.PASSED
        return bool(self.failures) and not any(profile.includes(failure.profile) for failure in self.failures)

    @property
    def clauses(self) -> list[str]:
        """The case's clause, and those of other checks that failed."""
        return list(dict.fromkeys([self.case.clause, *(failure.clause for failure in self.failures)]))

    def failures_of(self, clause: str) -> list[Failure]:
        """Return the failures under *clause*."""
        return [failure for failure in self.failures if failure.clause == clause]

    def passes_clause(self, clause: str) -> bool:
        """Return whether the case ran and met *clause*."""
        return self.status is CaseStatus.PASSED or (bool(self.failures) and not self.failures_of(clause))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on one profile."""

    outcome: Outcome
    passed: int
    """Number of cases that ran and met the profile's demands."""
    ran: int
    """Number of the profile's cases in the run, including those that could not run."""
    of: int
    """Number of the profile's cases for the tested services."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a whole run."""

    began: datetime
    seconds: float
    targets: Mapping[str, str]
    """The address of each tested instance."""
    results: Sequence[CaseResult]
    left_out: int = 0
    """Number of cases of services without an address and of other profiles."""
    error: str = ""
    """Why no case could run, if none could."""
    profile: Profile = Profile.FULL
    """The profile that was tested."""
    not_applicable: int = 0
    """Number of cases of the tested services and profile that do not apply to the target's transport."""
    cut: Sequence[Case] = ()
    """Cases of the tested services and profile that were left out."""

    def with_status(self, *statuses: CaseStatus) -> list[CaseResult]:
        """Return the results with one of *statuses*."""
        return [result for result in self.results if result.status in statuses]

    @property
    def verdicts(self) -> Mapping[Profile, Verdict]:
        """The verdict on each profile that was tested and has cases, the narrower ones first."""
        verdicts = {profile: self.verdict(profile) for profile in Profile if self.profile.includes(profile)}
        return {profile: found for profile, found in verdicts.items() if found.of or profile is self.profile}

    def verdict(self, profile: Profile) -> Verdict:
        """Return the verdict on *profile*."""
        results = [result for result in self.results if profile.includes(result.case.profile)]
        passed = sum(result.passes(profile) for result in results)
        total = len(results) + sum(profile.includes(case.profile) for case in self.cut)
        if self.error:
            outcome = Outcome.NOT_RUN
        elif not total or passed < len(results):
            outcome = Outcome.FAILS
        else:
            outcome = Outcome.CONFORMS if len(results) == total else Outcome.PARTIAL
        return Verdict(outcome, passed, len(results), total)

    @property
    def outcome(self) -> Outcome:
        """The verdict on the tested profile."""
        return self.verdict(self.profile).outcome

    @property
    def conforms(self) -> bool:
        """Whether every case of the tested profile ran and passed."""
        return self.outcome is Outcome.CONFORMS
