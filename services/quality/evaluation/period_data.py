"""A period, most often a month, as it was, read once: memory grows with days, methods and consumers, not inquiries."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue, Method, Service
from quality import repository
from quality.attribution import Fault
from quality.evaluation import minute_states
from quality.periods import Period, midnight, minute_of
from quality.repository import Announced, SeenHead, Tally
from quality.slo import Rulebook

Key = tuple[str, str]
"""A method's full name and a consumer's legal id."""


@dataclass(slots=True)
class Seen:
    """What one period, most often a month, shows of every method and every consumer."""

    period: Period
    end_minute: int
    """The first minute that is not told of: the period's end or, while it still runs, now."""
    days: list[tuple[date, int, int]]
    methods: dict[str, tuple[Service, Method]]
    minutes: dict[str, bytearray]
    """Of each method, the state of each minute."""
    own: dict[Key, bytearray] = field(default_factory=dict)
    """Of each consumer's way to each method, the state of each minute."""
    traffic: dict[Key, dict[date, Tally]] = field(default_factory=dict)
    ages: dict[str, dict[date, int]] = field(default_factory=dict)
    """Of each service, the greatest age of its data on each day, in minutes."""
    covered_since: dict[str, date] = field(default_factory=dict)
    announced: list[Announced] = field(default_factory=list)
    heads: dict[str, SeenHead] = field(default_factory=dict)

    @property
    def first_minute(self) -> int:
        """The period's first minute."""
        return self.period.first_minute


def see(connection: Connection, *, period: Period, now: int, catalogue: Catalogue, rules: Rulebook) -> Seen:
    """Read what was observed in *period*, up to minute *now*."""
    first, end = period.first_minute, min(period.end_minute, now)
    methods = {name: (service, method) for name, service, method in catalogue.methods()}
    seen = Seen(
        period=period,
        end_minute=end,
        days=list(period.day_minutes()),
        methods=methods,
        minutes={name: bytearray(period.end_minute - first) for name in methods},
        announced=repository.announced(connection, first, end),
        heads=repository.last_heads(connection, end),
    )
    planned = {name: _planned(seen, service, rules) for name, (service, _) in methods.items()}
    _read_traffic(connection, seen, planned)
    _read_probes(connection, seen)
    for one in repository.freshness(connection, first, end):
        days = seen.ages.setdefault(one.service, {})
        day = _day(seen, one.minute)
        days[day] = max(days.get(day, 0), one.age_minutes)
        if one.covered_since:
            seen.covered_since[one.service] = one.covered_since
    for name, (_, method) in methods.items():
        for minutes in (seen.minutes[name], *(kept for (of, _), kept in seen.own.items() if of == name)):
            minute_states.paint(minutes, planned[name], minute_states.PLANNED)
            minute_states.paint(minutes, _absent(seen, method), minute_states.ABSENT)
    return seen


def announced_in_time(outage: Announced, rules: Rulebook) -> bool:
    """Whether *outage* is counted apart."""
    return outage.first_minute - outage.announced_minute >= rules.notice_hours * 60


def _planned(seen: Seen, service: Service, rules: Rulebook) -> list[tuple[int, int]]:
    return [
        (outage.first_minute - seen.first_minute, outage.end_minute - seen.first_minute)
        for outage in seen.announced
        if outage.service in {service.slug, rules.base(service.slug)} and announced_in_time(outage, rules)
    ]


def _absent(seen: Seen, method: Method) -> Iterator[tuple[int, int]]:
    length = seen.period.end_minute - seen.first_minute
    yield 0, minute_of(midnight(method.introduced)) - seen.first_minute
    if method.sunset:
        yield minute_of(midnight(method.sunset)) - seen.first_minute, length
    yield seen.end_minute - seen.first_minute, length


def _read_traffic(connection: Connection, seen: Seen, planned: Mapping[str, list[tuple[int, int]]]) -> None:
    days = iter(seen.days)
    day, _, day_end = next(days)
    rows = repository.observations(connection, seen.first_minute, seen.end_minute)
    for minute, observed in groupby(rows, lambda row: row.minute):
        while minute >= day_end:
            day, _, day_end = next(days)
        offset = minute - seen.first_minute
        whole: dict[str, Tally] = {}
        for one in observed:
            if one.method not in seen.methods:
                continue
            # Latencies say nothing of whether a method could be had.
            whole.setdefault(one.method, Tally()).counts.update(one.tally.counts)
            if any(low <= offset < high for low, high in planned[one.method]):
                one.tally.counts[Fault.PLANNED] = one.tally.counts.pop(Fault.PROVIDER, 0)
            seen.traffic.setdefault((one.method, one.consumer), {}).setdefault(day, Tally()).add(one.tally)
        for name, tally in whole.items():
            seen.minutes[name][offset] = minute_states.by_traffic(tally)


def _read_probes(connection: Connection, seen: Seen) -> None:
    rows = repository.probes(connection, seen.first_minute, seen.end_minute)
    for (minute, name), met in groupby(rows, lambda row: (row.minute, row.method)):
        if name not in seen.methods:
            continue
        probes = list(met)
        offset = minute - seen.first_minute
        state = minute_states.by_probes(probe.fault for probe in probes)
        seen.minutes[name][offset] = state
        for probe in probes:
            key = name, probe.consumer
            if key not in seen.own:
                seen.own[key] = bytearray(len(seen.minutes[name]))
            seen.own[key][offset] = minute_states.of_consumer(probe.fault, state)


def _day(seen: Seen, minute: int) -> date:
    return next(day for day, _, end in seen.days if minute < end)


def days_of(seen: Seen, since: date, until: date | None) -> list[tuple[date, int, int]]:
    """The days of the month from *since* to *until*, both included, with their minutes as offsets into the month."""
    return [
        (day, first - seen.first_minute, end - seen.first_minute)
        for day, first, end in seen.days
        if since <= day and (until is None or day <= until)
    ]
