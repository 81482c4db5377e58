"""The present: how each service, and each consumer's way to it, stands by what the watch saw in the last day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue, Method, Service
from quality import repository
from quality.evaluation import minute_states
from quality.evaluation.build import counts
from quality.evaluation.incidents import consumer
from quality.evaluation.minute_states import Time
from quality.evaluation.period_data import Seen, see
from quality.evaluation.report_model import Counts, Named
from quality.outages.announcements import COMING, RUNNING, state
from quality.periods import Span, instant_of
from quality.repository import Announced, Probe, SeenHead, Tally
from quality.slo import Rulebook

DAY, HOUR = 1440, 60
LOOK_BACK = 3
"""Minutes: what nobody has measured for so long is not known."""

_WORST_FIRST = ("provider", "exchange", "unmeasured", "planned", "up")


@dataclass(frozen=True, slots=True)
class Way:
    """One consumer's way to a method, by its newest probe."""

    consumer: Named
    state: str
    reason: str
    """Why there was no answer; empty after one."""


@dataclass(frozen=True, slots=True)
class MethodNow:
    """A method: what it is in this minute, and what the last day was."""

    name: str
    fa: str
    en: str
    state: str
    """up, provider or exchange (whose fault it is that no answer comes), planned, or unmeasured."""
    since: datetime | None
    """Since when it is so; None: for longer than a day, or not known."""
    availability: float | None
    """Per cent of the day's measured minutes."""
    minutes: bytes
    """The state of each of the day's minutes."""
    hours: tuple[Counts, ...]
    """The day's traffic, hour by hour, the newest last."""
    day: Counts
    ways: tuple[Way, ...]

    @property
    def hour(self) -> Counts:
        """The traffic of the last hour."""
        return self.hours[-1]


@dataclass(frozen=True, slots=True)
class ServiceNow:
    """A service and its methods."""

    service: Named
    provider: Named
    health: str
    """As it says itself: SERVING or NOT_SERVING; empty where it was not heard."""
    age_hours: float | None
    covered_since: date | None
    head: SeenHead | None
    running: tuple[Announced, ...]
    coming: tuple[Announced, ...]
    methods: tuple[MethodNow, ...]

    @property
    def state(self) -> str:
        """That of the worst method."""
        return _worst(method.state for method in self.methods)


@dataclass(frozen=True, slots=True)
class Present:
    """How everything stands."""

    now: datetime
    seen: datetime | None
    """The newest minute of which there is a probe, within the last day."""
    services: tuple[ServiceNow, ...]

    @property
    def blind(self) -> bool:
        """Whether the watch itself has been silent too long to tell of the present."""
        return self.seen is None or (self.now - self.seen).total_seconds() > LOOK_BACK * 60

    @property
    def methods(self) -> list[MethodNow]:
        """All methods."""
        return [method for service in self.services for method in service.methods]

    @property
    def state(self) -> str:
        """That of the worst service."""
        return _worst(service.state for service in self.services)


def _worst(found: Iterable[str]) -> str:
    return min(found, key=_WORST_FIRST.index, default="unmeasured")


def look(connection: Connection, *, now: int, catalogue: Catalogue, rules: Rulebook) -> Present:
    """The present of minute *now*, by the quality store."""
    end = now + 1
    first = end - DAY
    seen = see(connection, period=Span(first, end), now=end, catalogue=catalogue, rules=rules)
    traffic = _hourly(connection, seen)
    probes = list(repository.probes(connection, end - LOOK_BACK, end))
    health = {one.service: one.health for one in repository.readings(connection, end - LOOK_BACK, end) if one.health}
    fresh = {one.service: one for one in repository.freshness(connection, first, end)}
    announced = repository.announcements(connection)
    heads = repository.last_heads(connection, end)
    services = []
    for service in catalogue.services:
        lasting = [one for one in announced if one.service in {service.slug, rules.base(service.slug)}]
        methods = [
            _method(seen, catalogue, service, method, traffic, probes)
            for method in service.methods
            if seen.minutes[service.full_name(method.name)][-1] != minute_states.ABSENT
        ]
        if methods:
            age = fresh.get(service.slug)
            provider = catalogue.party(service.provider)
            services.append(
                ServiceNow(
                    service=Named(service.slug, service.fa, service.en),
                    provider=Named(service.provider, provider.fa, provider.en) if provider else Named("", "", ""),
                    health=health.get(service.slug, ""),
                    age_hours=age.age_minutes / 60 if age else None,
                    covered_since=age.covered_since if age else None,
                    head=heads.get(service.slug),
                    running=tuple(one for one in lasting if state(one, now) == RUNNING),
                    coming=tuple(one for one in lasting if state(one, now) == COMING),
                    methods=tuple(methods),
                )
            )
    return Present(instant_of(now), _newest_probe(connection, first, end), tuple(services))


def _method(
    seen: Seen,
    catalogue: Catalogue,
    service: Service,
    method: Method,
    traffic: dict[str, list[Tally]],
    probes: Iterable[Probe],
) -> MethodNow:
    name = service.full_name(method.name)
    minutes = bytes(seen.minutes[name])
    hours = traffic.get(name) or [Tally() for _ in range(DAY // HOUR)]
    whole = Tally()
    for tally in hours:
        whole.add(tally)
    newest = {probe.consumer: probe for probe in probes if probe.method == name}
    current = _newest(minutes)
    return MethodNow(
        name=name,
        fa=method.fa,
        en=method.en,
        state=minute_states.NAMES[current],
        since=_since(minutes, current, seen.first_minute),
        availability=Time.of(minutes).availability,
        minutes=minutes,
        hours=tuple(map(counts, hours)),
        day=counts(whole),
        ways=tuple(
            Way(
                consumer(catalogue, legal_id),
                minute_states.NAMES[minute_states.of_consumer(probe.fault, current)],
                probe.reason,
            )
            for legal_id, probe in sorted(newest.items())
        ),
    )


def _newest(minutes: bytes) -> int:
    # A method that was not in service before now says nothing by that of now.
    said = (
        state
        for state in reversed(minutes[-LOOK_BACK:])
        if state not in {minute_states.UNMEASURED, minute_states.ABSENT}
    )
    return next(said, minute_states.UNMEASURED)


def _since(minutes: bytes, current: int, first_minute: int) -> datetime | None:
    """When the run of *current* began that lasts; minutes that nobody measured don't end it."""
    begun = None
    for at in range(len(minutes) - 1, -1, -1):
        if minutes[at] == current:
            begun = at
        elif minutes[at] != minute_states.UNMEASURED:
            break
    else:
        return None
    return None if begun is None or current == minute_states.UNMEASURED else instant_of(first_minute + begun)


def _hourly(connection: Connection, seen: Seen) -> dict[str, list[Tally]]:
    """By method, what became of inquiries in each hour."""
    found: dict[str, list[Tally]] = {}
    for one in repository.observations(connection, seen.first_minute, seen.end_minute):
        hours = found.setdefault(one.method, [Tally() for _ in range(DAY // HOUR)])
        hours[(one.minute - seen.first_minute) // HOUR].add(one.tally)
    return found


def _newest_probe(connection: Connection, first: int, end: int) -> datetime | None:
    minute = repository.newest_probe(connection, first, end)
    return None if minute is None else instant_of(minute)
