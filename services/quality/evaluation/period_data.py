"""Data of one period, read once. Memory grows with days, methods and consumers, not with inquiries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue, Method, Service
from quality import ledger_states, repository
from quality.attribution import Attribution
from quality.evaluation import minute_states
from quality.periods import Period, midnight, minute_of
from quality.records import LedgerAlarm, ObservedHead, PlannedOutage, Tally
from quality.slo import Rulebook

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

    @property
    def first_minute(self) -> int:
        """First minute of the period."""
        return self.period.first_minute

    def is_counted(self, name: str) -> bool:
        """Whether the inquiries of the method *name* are counted: a ledger of its service was collected.

        The inquiries of a service that keeps no ledger are in those of the services that it calls.
        """
        service = self.methods[name][0].slug
        return service in self.heads or any(self.methods[method][0].slug == service for method, _ in self.traffic)


def load_period(
    connection: Connection, *, period: Period, now: int, catalogue: Catalogue, rules: Rulebook
) -> PeriodData:
    """Load the data of *period* up to minute *now* (exclusive)."""
    first, end = period.first_minute, min(period.end_minute, now)
    methods = {name: (service, method) for name, service, method in catalogue.methods()}
    data = PeriodData(
        period=period,
        end_minute=end,
        days=list(period.day_minutes()),
        methods=methods,
        minutes={name: bytearray(period.end_minute - first) for name in methods},
        planned_outages=repository.outages_between(connection, first, end),
        heads=repository.last_heads(connection, end),
        alarms=ledger_states.alarms_between(connection, first, end),
    )
    planned = {name: _planned_spans(data, service, rules) for name, (service, _) in methods.items()}
    _read_traffic(connection, data, planned)
    _read_probes(connection, data)
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
    return data


def is_announced_in_time(outage: PlannedOutage, rules: Rulebook) -> bool:
    """Whether *outage* was announced early enough to be counted separately."""
    return outage.first_minute - outage.announced_minute >= rules.notice_hours * 60


def _planned_spans(data: PeriodData, service: Service, rules: Rulebook) -> list[tuple[int, int]]:
    return [
        (outage.first_minute - data.first_minute, outage.end_minute - data.first_minute)
        for outage in data.planned_outages
        if outage.service in {service.slug, rules.outage_owner(service.slug)} and is_announced_in_time(outage, rules)
    ]


def _absent_spans(data: PeriodData, method: Method) -> Iterator[tuple[int, int]]:
    length = data.period.end_minute - data.first_minute
    if method.introduced:
        yield 0, minute_of(midnight(method.introduced)) - data.first_minute
    if method.sunset:
        yield minute_of(midnight(method.sunset)) - data.first_minute, length
    yield data.end_minute - data.first_minute, length


def _read_traffic(connection: Connection, data: PeriodData, planned: Mapping[str, list[tuple[int, int]]]) -> None:
    days = iter(data.days)
    day, _, day_end = next(days)
    rows = repository.observations(connection, data.first_minute, data.end_minute)
    for minute, rows_of_minute in groupby(rows, lambda row: row.minute):
        while minute >= day_end:
            day, _, day_end = next(days)
        offset = minute - data.first_minute
        totals: dict[str, Tally] = {}
        for one in rows_of_minute:
            if one.method not in data.methods:
                continue
            # Availability does not depend on latencies: only the counts are added.
            totals.setdefault(one.method, Tally()).counts.update(one.tally.counts)
            if any(low <= offset < high for low, high in planned[one.method]):
                one.tally.counts[Attribution.PLANNED] = one.tally.counts.pop(Attribution.PROVIDER, 0)
            data.traffic.setdefault((one.method, one.consumer), {}).setdefault(day, Tally()).add(one.tally)
        for name, tally in totals.items():
            data.minutes[name][offset] = minute_states.state_from_traffic(tally)


def _read_probes(connection: Connection, data: PeriodData) -> None:
    rows = repository.probes(connection, data.first_minute, data.end_minute)
    for (minute, name), met in groupby(rows, lambda row: (row.minute, row.method)):
        if name not in data.methods:
            continue
        probes = list(met)
        offset = minute - data.first_minute
        state = minute_states.state_from_probes(probe.fault for probe in probes)
        data.minutes[name][offset] = state
        for probe in probes:
            key = name, probe.consumer
            if key not in data.consumer_minutes:
                data.consumer_minutes[key] = bytearray(len(data.minutes[name]))
            data.consumer_minutes[key][offset] = minute_states.consumer_state(probe.fault, state)


def _day(data: PeriodData, minute: int) -> date:
    return next(day for day, _, end in data.days if minute < end)


def days_between(data: PeriodData, since: date, until: date | None) -> list[tuple[date, int, int]]:
    """Days of the period from *since* to *until* (inclusive), with their minutes as offsets into the period."""
    return [
        (day, first - data.first_minute, end - data.first_minute)
        for day, first, end in data.days
        if since <= day and (until is None or day <= until)
    ]
