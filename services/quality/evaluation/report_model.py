"""The figures of one report, for one reader: what its pages, its table and its JSON all say."""

from dataclasses import dataclass
from datetime import date, datetime

from quality.evaluation.sli import Verdict


@dataclass(frozen=True, slots=True)
class Named:
    """Something with a name in both languages."""

    slug: str
    fa: str
    en: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of inquiries, and how fast the answers were (milliseconds)."""

    inquiries: int
    answered: int
    provider: int
    exchange: int
    consumer: int
    ungranted: int
    throttled: int
    planned: int
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Minutes:
    """How long a method was what, and the share of the minutes that count in which it could be had."""

    up: int
    provider: int
    exchange: int
    planned: int
    unmeasured: int
    availability: float | None


@dataclass(frozen=True, slots=True)
class DayReport:
    """One day of one method."""

    day: date
    jalali: str
    minutes: Minutes
    counts: Counts


@dataclass(frozen=True, slots=True)
class MethodReport:
    """One method's month."""

    method: str
    name: str
    fa: str
    en: str
    service: str
    introduced: date
    deprecated: date | None
    sunset: date | None
    replaced_by: str | None
    minutes: Minutes
    counts: Counts
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
    """A consumer that asked of a deprecated method in the month, on days on which it was deprecated already."""

    method: str
    consumer: Named
    since: date
    """The day from which on the method is deprecated."""
    inquiries: int
    last_day: date


@dataclass(frozen=True, slots=True)
class Outage:
    """Minutes on end without the methods of a service, and through whom; of a consumer's own, whose it is."""

    service: Named
    """Whose outage it is; others that stand on it may have methods in it too."""
    methods: tuple[str, ...]
    fault: str
    consumer: Named | None
    first: datetime
    end: datetime
    minutes: int
    down: int
    announced: datetime | None
    announced_until: datetime | None
    """The end that was announced at first: it may have been ended early, or go on beyond the month."""
    counted_apart: bool
    reason_fa: str
    reason_en: str


@dataclass(frozen=True, slots=True)
class SloResult:
    """A set of rules held against the month: of an agreement, or the minimum for a service or a consumer."""

    kind: str
    """agreement, entering or leaving"""
    id: str
    rules: Named
    service: Named | None
    consumer: Named | None
    since: date | None
    until: date | None
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class DataStatus:
    """How old a service's data was at the worst, in hours, and since when it is complete."""

    service: str
    oldest_hours: float | None
    covered_since: date | None


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The end of a service's ledger, as it was last seen in the month: whoever holds this can tell a cut later."""

    service: str
    number: int
    hash: str
    entries: int
    seen: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """All that one report says."""

    month: str
    begins: datetime
    ends: datetime
    data_until: datetime
    interim: bool
    """Whether the month was still running."""
    issued: datetime
    audience: str
    reader: Named
    services: tuple[Named, ...]
    counts: Counts
    minutes: Minutes
    methods: tuple[MethodReport, ...]
    consumers: tuple[ConsumerReport, ...]
    still_calling: tuple[StillCalling, ...]
    outages: tuple[Outage, ...]
    slo_results: tuple[SloResult, ...]
    data: tuple[DataStatus, ...]
    ledgers: tuple[LedgerStatus, ...]
