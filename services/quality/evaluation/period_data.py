"""Data of one period, read once. Memory grows with days, methods and consumers, not with inquiries."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from heapq import merge
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue, Method, Service
from quality import ledger_states, repository, traffic_store
from quality.attribution import Attribution
from quality.evaluation import minute_states
from quality.periods import Period, midnight, minute_of
from quality.records import LedgerAlarm, Observation, ObservedHead, PlannedOutage, Probe, Tally, add_counts
from quality.slo import Rulebook

MICROS_PER_MINUTE = 60_000_000
READING_MINUTES = 5
"""Of a running period, the last minutes may not have been read yet."""

_PROVIDER_FAILURES = (Attribution.PROVIDER, Attribution.UNKNOWN)
"""Failures of the provider, and those of which nothing shows yet whose they are."""
_FAILED = re.compile(rb"[%c%c]" % (minute_states.PROVIDER, minute_states.UNKNOWN))
_DOWN = re.compile(rb"[%c%c%c]" % (minute_states.PROVIDER, minute_states.EXCHANGE, minute_states.UNKNOWN))

Key = tuple[str, str]
"""A method's full name and a consumer's legal id."""


@dataclass(slots=True)
class PeriodData:
    """Observed data of one period, for all methods and consumers."""

    period: Period
    end_minute: int
    """End of the data (exclusive): the period's end or, while the period is running, now."""
    days: list[tuple[date, int, int]]
    methods: dict[str, tuple[Service, Method]]
    minutes: dict[str, bytearray]
    """State of each minute, by method."""
    listed: dict[str, bytearray] = field(default_factory=dict)
    """State of each minute of the services that the catalogue only lists, by name, from their probes."""
    own_minutes: dict[str, bytearray] = field(default_factory=dict)
    """The same, without the failures that a service had while one that it depends on was down; they are ABSENT."""
    consumer_minutes: dict[Key, bytearray] = field(default_factory=dict)
    """State of each minute, by method and consumer."""
    traffic: dict[Key, dict[date, Tally]] = field(default_factory=dict)
    ages: dict[str, dict[date, int]] = field(default_factory=dict)
    """Greatest age of the data on each day in minutes, by service."""
    covered_since: dict[str, date] = field(default_factory=dict)
    planned_outages: list[PlannedOutage] = field(default_factory=list)
    heads: dict[str, ObservedHead] = field(default_factory=dict)
    alarms: list[LedgerAlarm] = field(default_factory=list)
    """The alarms about ledgers that stood in the period."""
    counted: dict[str, set[int]] = field(default_factory=dict)
    """The minutes in which each service, package.Service, counted its calls."""
    read_until: dict[str, int] = field(default_factory=dict)
    """The instant, in microseconds since 1970, up to which the traffic of each service was read."""
    probed_until: dict[str, int] = field(default_factory=dict)
    """The end of the last minute in which each method was probed."""
    first_minute: int = field(init=False)
    """First minute of the period."""
    counting: dict[str, range] = field(init=False)
    """The minutes from the first to the last in which each service counted its calls."""

    def __post_init__(self) -> None:
        """Find, once, where the period begins and between which minutes each service counted."""
        self.first_minute = self.period.first_minute
        self.counting = {wire: range(min(minutes), max(minutes) + 1) for wire, minutes in self.counted.items()}

    def is_counted(self, name: str) -> bool:
        """Whether the inquiries of the method *name* are known: counted by its service, or read from its ledger."""
        return self._knows_traffic(self.methods[name][0])

    def _knows_traffic(self, service: Service) -> bool:
        return (
            service.slug in self.heads
            or bool(self.counted.get(service.wire or ""))
            or any(self.methods[method][0].slug == service.slug for method, _ in self.traffic)
        )

    def add_traffic(self, observed: Observation, day: date) -> None:
        """Add what was *observed* to the traffic of *day*."""
        days = self.traffic.setdefault((observed.method, observed.consumer), {})
        if day not in days:
            days[day] = Tally()
        days[day].add(observed.tally)

    def is_down(self, slug: str, first: int, end: int) -> bool:
        """Whether a method of the service *slug* was down in a minute from *first* to before *end*, as offsets."""
        return any(
            _DOWN.search(self.minutes[name], first, end)
            for name, (service, _) in self.methods.items()
            if service.slug == slug
        )

    def traffic_until(self, service: Service) -> int | None:
        """The end of the minutes up to which the inquiries of *service* were read; None if they never were."""
        head = self.heads.get(service.slug)
        read = self.read_until.get(service.slug)
        return read // MICROS_PER_MINUTE if read is not None else head.minute if head else None

    def is_complete(self, service: Service) -> bool:
        """Whether the inquiries of *service* were read up to the end of the data, as far as they can be by now."""
        until = self.traffic_until(service)
        if until is None or not self._knows_traffic(service):
            return False
        return until >= self.end_minute - (READING_MINUTES if self.is_running else 0)

    @property
    def is_running(self) -> bool:
        """Whether the period has not ended."""
        return self.end_minute < self.period.end_minute


def load_period(
    connection: Connection, *, period: Period, now: int, catalogue: Catalogue, rules: Rulebook
) -> PeriodData:
    """Load the data of *period* up to minute *now* (exclusive)."""
    first, end = period.first_minute, min(period.end_minute, now)
    methods = {name: (service, method) for name, service, method in catalogue.methods() if service.is_monitored}
    data = PeriodData(
        period=period,
        end_minute=end,
        days=list(period.day_minutes()),
        methods=methods,
        minutes={name: bytearray(period.end_minute - first) for name in methods},
        listed={one.slug: bytearray(period.end_minute - first) for one in catalogue.services if not one.methods},
        planned_outages=repository.outages_between(connection, first, end),
        heads=repository.last_heads(connection, end),
        alarms=ledger_states.alarms_between(connection, first, end),
        counted=traffic_store.counted_minutes(connection, first, end),
        read_until=traffic_store.read_until(connection),
    )
    planned = {name: _planned_spans(data, service.slug, rules) for name, (service, _) in methods.items()}
    _read(connection, data, planned, rules)
    for one in repository.freshness(connection, first, end):
        days = data.ages.setdefault(one.service, {})
        day = _day(data, one.minute)
        days[day] = max(days.get(day, 0), one.age_minutes)
        if one.covered_since:
            data.covered_since[one.service] = one.covered_since
    for name, (_, method) in methods.items():
        for minutes in (
            data.minutes[name],
            *(states for (of, _), states in data.consumer_minutes.items() if of == name),
        ):
            minute_states.fill_spans(minutes, planned[name], minute_states.PLANNED)
            minute_states.fill_spans(minutes, _absent_spans(data, method), minute_states.ABSENT)
    for slug, minutes in data.listed.items():
        spans = _planned_spans(data, slug, rules)
        minute_states.fill_spans(minutes, spans, minute_states.PLANNED)
        minute_states.fill_spans(minutes, [(end - first, len(minutes))], minute_states.ABSENT)
    for name, (service, _) in methods.items():
        data.own_minutes[name] = _own_minutes(data, name, rules.outage_owner(service.slug))
    return data


def _own_minutes(data: PeriodData, name: str, owner: str) -> bytearray:
    """The minutes of the method *name*, without its failures while a method of *owner*, another service, was down."""
    if owner == data.methods[name][0].slug:
        return data.minutes[name]
    own = bytearray(data.minutes[name])
    for found in _FAILED.finditer(data.minutes[name]):
        if data.is_down(owner, found.start(), found.end()):
            own[found.start()] = minute_states.ABSENT
    return own


def is_announced_in_time(outage: PlannedOutage, rules: Rulebook) -> bool:
    """Whether *outage* was announced early enough to be counted separately."""
    return outage.first_minute - outage.announced_minute >= rules.notice_hours * 60


def _planned_spans(data: PeriodData, slug: str, rules: Rulebook) -> list[tuple[int, int]]:
    return [
        (outage.first_minute - data.first_minute, outage.end_minute - data.first_minute)
        for outage in data.planned_outages
        if outage.service in {slug, rules.outage_owner(slug)} and is_announced_in_time(outage, rules)
    ]


def _absent_spans(data: PeriodData, method: Method) -> Iterator[tuple[int, int]]:
    length = data.period.end_minute - data.first_minute
    if method.introduced:
        yield 0, minute_of(midnight(method.introduced)) - data.first_minute
    if method.sunset:
        yield minute_of(midnight(method.sunset)) - data.first_minute, length
    yield data.end_minute - data.first_minute, length


def _read(
    connection: Connection, data: PeriodData, planned: Mapping[str, list[tuple[int, int]]], rules: Rulebook
) -> None:
    """Read traffic and probes together, minute by minute: both decide whether a method was available.

    A failure of the provider within an announced outage, or while another service that its own depends on was down,
    counts as such.
    """
    for day, minute, rows_of_minute in _rows_by_minute(connection, data):
        offset = minute - data.first_minute
        totals: defaultdict[str, Tally] = defaultdict(Tally)
        found: dict[str, list[Probe]] = {}
        traffic: list[Observation] = []
        for row in rows_of_minute:
            if isinstance(row, Probe) and row.method in data.listed:
                data.listed[row.method][offset] = minute_states.probes_state([row.fault])
                data.probed_until[row.method] = minute + 1
            elif row.method not in data.methods:
                continue
            elif isinstance(row, Probe):
                found.setdefault(row.method, []).append(row)
                data.probed_until[row.method] = minute + 1
            else:
                # Availability does not depend on latencies: only the counts are added.
                add_counts(totals[row.method].counts, row.tally.counts)
                traffic.append(row)
        for name in totals.keys() | found.keys():
            _set_states(data, name, offset, totals.get(name), found.get(name, ()), rules)
        for row in traffic:
            if any(low <= offset < high for low, high in planned[row.method]):
                row.tally.move(_PROVIDER_FAILURES, Attribution.PLANNED)
            elif _is_dependency_down(data, row.method, offset, rules):
                row.tally.move(_PROVIDER_FAILURES, Attribution.DEPENDENCY)
            data.add_traffic(row, day)


def _rows_by_minute(
    connection: Connection, data: PeriodData
) -> Iterator[tuple[date, int, Iterator[Observation | Probe]]]:
    by_minute = attrgetter("minute")
    rows: tuple[Iterator[Observation | Probe], ...] = (
        traffic_store.observations(connection, data.first_minute, data.end_minute),
        repository.probes(connection, data.first_minute, data.end_minute),
    )
    days = iter(data.days)
    day, _, day_end = next(days)
    for minute, rows_of_minute in groupby(merge(*rows, key=by_minute), by_minute):
        while minute >= day_end:
            day, _, day_end = next(days)
        yield day, minute, rows_of_minute


def _is_dependency_down(data: PeriodData, name: str, offset: int, rules: Rulebook) -> bool:
    slug = data.methods[name][0].slug
    owner = rules.outage_owner(slug)
    return owner != slug and data.is_down(owner, offset, offset + 1)


def _set_states(
    data: PeriodData, name: str, offset: int, tally: Tally | None, probes: Sequence[Probe], rules: Rulebook
) -> None:
    faults = [_resolved(data, name, offset, probe.fault) for probe in probes]
    state = data.minutes[name][offset] = minute_states.method_state(tally, faults, rules.failing_share)
    for probe, fault in zip(probes, faults, strict=True):
        key = name, probe.consumer
        if key not in data.consumer_minutes:
            data.consumer_minutes[key] = bytearray(len(data.minutes[name]))
        data.consumer_minutes[key][offset] = minute_states.consumer_state(fault, state)


def _resolved(data: PeriodData, name: str, offset: int, fault: Attribution | None) -> Attribution | None:
    """Return *fault*, or PROVIDER where it was not known and the service counted before and after, but not then.

    Its process did not run, or was frozen, in that minute.
    """
    if fault is not Attribution.UNKNOWN:
        return fault
    wire, minute = name.partition("/")[0], data.first_minute + offset
    has_stopped = minute in data.counting.get(wire, ()) and minute not in data.counted[wire]
    return Attribution.PROVIDER if has_stopped else fault


def _day(data: PeriodData, minute: int) -> date:
    return next(day for day, _, end in data.days if minute < end)


def days_between(data: PeriodData, since: date, until: date | None) -> list[tuple[date, int, int]]:
    """Days of the period from *since* to *until* (inclusive), with their minutes as offsets into the period."""
    return [
        (day, first - data.first_minute, end - data.first_minute)
        for day, first, end in data.days
        if since <= day and (until is None or day <= until)
    ]
