"""Content of one report. HTML, CSV and JSON show the same values; field names are the keys of `figures.json`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final, Self

from quality.evaluation.sli import PERCENTILES, Verdict

VERSION: Final = 3
"""The version of the form of `figures.json`. 1 had no version, and figures of 0 where nothing was measured; 2 counted
failures while another service was down to the provider of the one that depends on it."""


UNPLANNED = frozenset({"provider", "exchange", "unknown"})


@dataclass(frozen=True, slots=True)
class Named:
    """Something with a name in both languages."""

    slug: str
    fa: str
    en: str


class Coverage(StrEnum):
    """How far a time was measured, by probes or traffic."""

    FUTURE = "future"
    ABSENT = "absent"
    """The method was not in service."""
    PLANNED = "planned"
    """Nothing but an announced outage."""
    NOT_MEASURED = "not_measured"
    PARTLY = "partly"
    MEASURED = "measured"

    @classmethod
    def of(cls, minutes: "Minutes", *, is_future: bool = False) -> Self:
        """The coverage of *minutes*."""
        if is_future:
            return cls("future")
        if minutes.availability is not None:
            return cls("partly" if minutes.unmeasured else "measured")
        return cls("not_measured" if minutes.unmeasured else "planned" if minutes.planned else "absent")


@dataclass(frozen=True, slots=True)
class Counts:
    """Outcomes of inquiries, and percentiles of the latency in milliseconds."""

    inquiries: int
    answered: int
    provider: int
    exchange: int
    consumer: int
    ungranted: int
    throttled: int
    unknown: int
    planned: int
    dependency: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Minutes:
    """Minutes in each state, and the availability in per cent.

    Those of a measured state, and the availability, are None where no minute was measured.
    """

    up: int | None
    provider: int | None
    exchange: int | None
    unknown: int | None
    planned: int
    unmeasured: int
    availability: float | None

    @property
    def measured_share(self) -> float:
        """Per cent of the minutes that should have been measured in which it was."""
        measured = sum(one or 0 for one in (self.up, self.provider, self.exchange, self.unknown))
        return 100 * measured / (measured + self.unmeasured) if measured else 0.0


@dataclass(frozen=True, slots=True)
class DayReport:
    """One day of one method."""

    day: date
    jalali: str
    minutes: Minutes
    coverage: Coverage
    counts: Counts | None
    """None where the method's inquiries of that day are not known, or are still to come."""


@dataclass(frozen=True, slots=True)
class MethodReport:
    """One method's month."""

    method: str
    name: str
    fa: str
    en: str
    service: str
    introduced: date | None
    deprecated: date | None
    sunset: date | None
    replaced_by: str | None
    minutes: Minutes
    coverage: Coverage
    counts: Counts | None
    """None where the method's inquiries are not known: neither its service's counts nor a ledger were read."""
    traffic_until: datetime | None
    """The instant as of which its inquiries are known; None if they are not."""
    probed_until: datetime | None
    """The end of the last minute in which it was probed."""
    is_complete: bool
    """Whether its inquiries are known up to the end of the report's data."""
    days: tuple[DayReport, ...]


@dataclass(frozen=True, slots=True)
class ListedReport:
    """The month of a service that the catalogue only lists, by probes of its provider's own interface."""

    service: Named
    provider: Named
    minutes: Minutes
    coverage: Coverage
    probed_until: datetime | None
    days: tuple[DayReport, ...]


@dataclass(frozen=True, slots=True)
class ConsumerReport:
    """One consumer's month with one method."""

    consumer: Named
    legal_id: str
    method: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class StillCalling:
    """A consumer that called a deprecated method in the month, on or after the day of its deprecation."""

    method: str
    consumer: Named
    since: date
    """Day of the deprecation."""
    inquiries: int
    last_day: date


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage of a service, with its attribution; one of a single consumer names that consumer."""

    service: Named
    """The service that the outage is listed under; methods of services that depend on it may be included."""
    methods: tuple[str, ...]
    fault: str
    consumer: Named | None
    first: datetime
    end: datetime
    minutes: int
    down: int
    announced: datetime | None
    announced_until: datetime | None
    """The announced end. It differs from *end* if the outage ended early or extends beyond the month."""
    counted_apart: bool
    reason_fa: str
    reason_en: str


@dataclass(frozen=True, slots=True)
class SloResult:
    """Results of one rule set: of an agreement, or of the minimum rules for a service or a consumer."""

    kind: str
    """agreement, entering or leaving"""
    id: str
    rules: Named
    service: Named | None
    consumer: Named | None
    since: date | None
    until: date | None
    verdicts: tuple[Verdict, ...]


def worst_first(results: Iterable[SloResult]) -> list[SloResult]:
    """Sort *results*: those with an objective that was not met, those with one that was not measured, the others."""

    def rank(result: SloResult) -> int:
        states = {verdict.state for verdict in result.verdicts}
        return 0 if "broken" in states else 1 if "not_measured" in states else 2

    return sorted(results, key=rank)


@dataclass(frozen=True, slots=True)
class DataStatus:
    """Greatest age of a service's data in hours, and the date since which it is complete."""

    service: str
    oldest_hours: float | None
    covered_since: date | None


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """Last observed head of a service's ledger. With it, a later change of what it covers can be proven."""

    service: str
    size: int
    root: str
    seen: datetime


@dataclass(frozen=True, slots=True)
class LedgerAlarmReport:
    """A ledger that did not continue what was verified of it; its later entries are not counted until acknowledged."""

    service: str
    kind: str
    """rollback, fork or damaged"""
    found: datetime
    verified: str
    """The head that was verified last, SIZE:ROOT."""
    acknowledged: datetime | None
    """None while the alarm stands."""
    reason: str


@dataclass(frozen=True, slots=True)
class EarlierMonth:
    """What the published report of the month before states."""

    month: str
    availability: float | None
    inquiries: int | None
    p95: float | None
    met: int
    broken: int
    outages: int | None
    """Unplanned ones; None if nothing was measured."""


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a report asks a party to do."""

    kind: str
    """objective (state the cause and the remedy), alarm, replace (a deprecated method), or measure"""
    owner: Named
    subject: Named
    metric: str
    """Of an objective that was not met."""
    agreement: str
    """Its agreement's number; empty for the minimum rules."""
    due: date | None


@dataclass(frozen=True, slots=True)
class Report:
    """Report of one month for one audience."""

    version: int
    """Version of this form, which grows with each change that a reader of the last one would misread."""
    month: str
    begins: datetime
    ends: datetime
    data_until: datetime
    interim: bool
    """Whether the month was still running when the report was issued."""
    is_complete: bool
    """Whether the inquiries of all its methods are known up to *data_until*."""
    coverage: Coverage
    """How far its methods were measured, taken together."""
    issued: datetime
    audience: str
    reader: Named
    services: tuple[Named, ...]
    counts: Counts | None
    """None where the inquiries of no method are known."""
    minutes: Minutes
    methods: tuple[MethodReport, ...]
    consumers: tuple[ConsumerReport, ...]
    still_calling: tuple[StillCalling, ...]
    outages: tuple[Outage, ...]
    slo_results: tuple[SloResult, ...]
    data: tuple[DataStatus, ...]
    ledgers: tuple[LedgerStatus, ...]
    ledger_alarms: tuple[LedgerAlarmReport, ...]
    listed: tuple[ListedReport, ...] = ()
    """Services that the catalogue only lists; those without a probe are not measured."""
    before: EarlierMonth | None = None
    """None if the month before has no published report for this audience."""
    actions: tuple[Action, ...] = ()

    @property
    def unplanned(self) -> list[Outage]:
        """The outages that the provider, the exchange, or nobody yet known caused."""
        return [one for one in self.outages if one.fault in UNPLANNED]

    @property
    def verdicts_met(self) -> list[bool]:
        """Whether each objective that was measured was met."""
        return [one.met for result in self.slo_results for one in result.verdicts if one.met is not None]

    def as_earlier(self) -> EarlierMonth:
        """This report as the report of the next month refers to it."""
        return EarlierMonth(
            month=self.month,
            availability=self.minutes.availability,
            inquiries=self.counts.inquiries if self.counts else None,
            p95=self.counts.p95 if self.counts else None,
            met=self.verdicts_met.count(True),
            broken=self.verdicts_met.count(False),
            outages=None if self.coverage is Coverage.NOT_MEASURED else len(self.unplanned),
        )

    def latency_bounds(self, service: str) -> dict[str, float]:
        """The strictest bound in milliseconds that any rule sets to each percentile (p50, p95, p99) of *service*."""
        bounds: dict[str, float] = {}
        for result in self.slo_results:
            if result.service and result.service.slug == service:
                for one in result.verdicts:
                    if one.metric in PERCENTILES and isinstance(one.at_most, int | float):
                        bounds[one.metric] = min(one.at_most, bounds.get(one.metric, one.at_most))
        return bounds
