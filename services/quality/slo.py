"""Quality rules as data: service level indicators (SLIs) and the objectives of each rule set."""

from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from estelam.catalogue.model import Catalogue
from estelam.core import dates
from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_model

Value = float | date
_Number = Annotated[float, Field(ge=0, le=1e9)]


def _parse_bound(value: object) -> object:
    """Parse a bound that is a date; numbers stay."""
    return value if isinstance(value, int | float) else dates.check_in_use(dates.parse_date_value(value))


class RulebookError(UserFacingError):
    """The rules file can't be used."""


class Sli(StrEnum):
    """Service level indicators; docs/quality-rules.md defines each."""

    AVAILABILITY = "availability"
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    ERROR_RATE = "error_rate"
    FRESHNESS = "freshness"
    COVERAGE = "coverage"
    OUTAGE_NOTICE = "outage_notice"
    CHANGE_NOTICE = "change_notice"
    CONSUMER_FAULT_RATE = "consumer_fault_rate"
    UNGRANTED_RATE = "ungranted_rate"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Objective(_Record):
    """One bound on one indicator."""

    metric: Sli
    at_least: _Number | None = None
    at_most: Annotated[_Number | date | None, BeforeValidator(_parse_bound)] = None

    @model_validator(mode="after")
    def _check_bound(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("an objective has either at_least or at_most")
        if isinstance(self.at_most, date) != (self.metric is Sli.COVERAGE):
            raise ValueError("coverage, and nothing else, is bounded by a date")
        return self

    @property
    def bound(self) -> Value:
        """The bound: `at_least` or `at_most`."""
        return self.at_least if self.at_least is not None else self.at_most  # type: ignore[return-value]

    def is_met_by(self, measured: Value) -> bool:
        """Whether *measured* is within the bound."""
        if self.at_least is not None:
            return measured >= self.at_least  # type: ignore[operator]
        return measured <= self.at_most  # type: ignore[operator]


class RuleSet(_Record):
    """A named set of objectives."""

    slug: Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
    fa: Annotated[str, Field(min_length=1, max_length=200)]
    en: Annotated[str, Field(min_length=1, max_length=200)]
    objectives: tuple[Objective, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_metrics(self) -> Self:
        metrics = [objective.metric for objective in self.objectives]
        if len(metrics) != len(set(metrics)):
            raise ValueError("a metric has two objectives")
        return self


class Rulebook(_Record):
    """The whole rules file."""

    notice_hours: float = Field(ge=0, le=100_000)
    shortest_outage_minutes: int = Field(ge=1, le=1_000_000)
    failing_share: float = Field(ge=0, le=99)
    """The share of failures, in per cent, above which a method is not available in a minute."""
    entering: str
    leaving: str
    depends_on: dict[str, str] = {}
    """By service: the service that it can't answer without."""
    set: tuple[RuleSet, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        slugs = [found.slug for found in self.set]
        if len(slugs) != len({*slugs}):
            raise ValueError("two sets of rules have the same name")
        if missing := {self.entering, self.leaving}.difference(slugs):
            raise ValueError(f"no set of rules is called {', '.join(sorted(missing))}")
        return self

    def outage_owner(self, service: str) -> str:
        """The service that an outage of *service* is listed under: the one that it depends on, or itself."""
        return self.depends_on.get(service, service)

    def rule_set(self, slug: str) -> RuleSet:
        """Return the rule set *slug*.

        Raises:
            RulebookError: no rule set has that name.
        """
        found = next((found for found in self.set if found.slug == slug), None)
        if found is None:
            raise RulebookError(f"no set of quality rules is called {slug}")
        return found


def read(path: Path, catalogue: Catalogue) -> Rulebook:
    """Read the rules in *path* and check them against *catalogue*.

    Raises:
        RulebookError: the file can't be read, a rule is invalid, or an agreement names a rule set that is missing.
    """
    rules = load_model(path, Rulebook, RulebookError)
    if missing := {*rules.depends_on, *rules.depends_on.values()} - {service.slug for service in catalogue.services}:
        raise RulebookError(f"{path}: no service is called {', '.join(sorted(missing))}")
    known = {found.slug for found in rules.set}
    if missing := {agreement.rules for agreement in catalogue.agreements} - known:
        raise RulebookError(f"{path}: an agreement names a set of rules that is missing: {', '.join(sorted(missing))}")
    return rules
