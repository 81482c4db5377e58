"""Current status of each service, method and consumer, from the observations of the last day."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from estelam.catalogue.model import Catalogue, Method, Service
from estelam.core.clock import TEHRAN
from quality import ledger_states, repository, traffic_store
from quality.evaluation import minute_states
from quality.evaluation.build import summarize
from quality.evaluation.incidents import named_consumer
from quality.evaluation.minute_states import StateMinutes
from quality.evaluation.period_data import PeriodData, load_period
from quality.evaluation.report_model import Counts, Named
from quality.outages.announcements import COMING, RUNNING, state
from quality.periods import Span, instant_of
from quality.records import Freshness, LedgerAlarm, ObservedHead, PlannedOutage, Probe, Tally
from quality.slo import Rulebook, Sli

DAY, HOUR = 1440, 60
STALE_MINUTES = 3
"""A state that has not been measured for this many minutes is unknown."""

_WORST_FIRST = (
    "provider",
    "exchange",
    "unknown",
    "alarm",
    "stale",
    "unmeasured",
    "not_serving",
    "outdated",
    "planned",
    "up",
)


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """Status of a method for one consumer, from the newest probe."""

    consumer: Named
    state: str
    reason: str
    """Why the probe got no answer; empty if it got one."""


@dataclass(frozen=True, slots=True)
class MethodStatus:
    """State of a method in this minute and over the last day."""

    name: str
    fa: str
    en: str
    state: str
    """up, provider or exchange (down, by attribution), planned, or unmeasured."""
    since: datetime | None
    """Start of this state; None if it is older than a day or unknown."""
    availability: float | None
    """Per cent of the measured minutes of the day."""
    minutes: bytes
    """State of each minute of the day, as in `minute_states`."""
    hours: tuple[Counts, ...]
    """Traffic of the day by hour, newest last; empty where no ledger counts it."""
    day: Counts | None
    """Traffic of the day; None where no ledger counts it."""
    consumers: tuple[ConsumerStatus, ...]

    @property
    def hour(self) -> Counts | None:
        """Traffic of the last hour; None where no ledger counts it."""
        return self.hours[-1] if self.hours else None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Status of a service and its methods."""

    service: Named
    provider: Named
    health: str
    """As the service reports it over grpc.health.v1: SERVING or NOT_SERVING; empty if it did not reply."""
    age_hours: float | None
    is_outdated: bool
    """Whether its data is older than an objective of freshness allows."""
    covered_since: date | None
    head: ObservedHead | None
    checkpoint: str
    """The checkpoint that was verified last, a signed note with the monitor's cosignature; empty if there is none."""
    alarm: LedgerAlarm | None
    """That the ledger does not continue that checkpoint, until somebody acknowledges it."""
    running: tuple[PlannedOutage, ...]
    coming: tuple[PlannedOutage, ...]
    methods: tuple[MethodStatus, ...]

    @property
    def states(self) -> list[str]:
        """What is wrong with the service, worst first; `up` alone if nothing is.

        These are the states of its methods, and beside them `alarm` while an alarm stands, `not_serving` if it reports
        so although its methods answer, and `outdated` if its data is.
        """
        found = {method.state for method in self.methods}
        if found == {"up"} and self.health == "NOT_SERVING":
            found.add("not_serving")
        if self.alarm:
            found.add("alarm")
        if self.is_outdated:
            found.add("outdated")
        return _worst_first(found)

    @property
    def state(self) -> str:
        """The worst of `states`."""
        return self.states[0]


@dataclass(frozen=True, slots=True)
class ListedStatus:
    """State of a service that the catalogue only lists, in this minute and over the last day."""

    name: str
    """Its name in the catalogue."""
    fa: str
    en: str
    provider: Named
    state: str
    """As of a method; unmeasured if it is not probed."""
    reason: str
    """Why the newest probe failed; empty if it did not, or if there is none."""
    availability: float | None
    """Per cent of the measured minutes of the day."""
    minutes: bytes
    """State of each minute of the day, as in `minute_states`."""


@dataclass(frozen=True, slots=True)
class ExchangeStatus:
    """Status of all services."""

    now: datetime
    last_probe: datetime | None
    """Minute of the newest probe within the last day."""
    services: tuple[ServiceStatus, ...]
    listed: tuple[ListedStatus, ...]
    """Services that the catalogue only lists."""

    @property
    def stale(self) -> bool:
        """Whether the newest probe is too old to show the current status."""
        return self.last_probe is None or (self.now - self.last_probe).total_seconds() > STALE_MINUTES * 60

    @property
    def methods(self) -> list[MethodStatus]:
        """Methods of all services."""
        return [method for service in self.services for method in service.methods]

    @property
    def states(self) -> list[str]:
        """What is wrong with any service, worst first, and `stale` in place of their methods' states."""
        found = {state for service in self.services for state in service.states}
        found |= {one.state for one in self.listed if one.availability is not None}
        if self.stale:
            found = found & {"alarm", "outdated"} | {"stale"}
        return _worst_first(found)

    @property
    def state(self) -> str:
        """The worst of `states`."""
        return self.states[0]


def _worst_first(found: Collection[str]) -> list[str]:
    problems = [state for state in _WORST_FIRST if state in found and state != "up"]
    return problems or ["up" if found else "unmeasured"]


def load_status(connection: Connection, *, now: int, catalogue: Catalogue, rules: Rulebook) -> ExchangeStatus:
    """Load the status in minute *now* from the quality store."""
    end = now + 1
    first = end - DAY
    data = load_period(connection, period=Span(first, end), now=end, catalogue=catalogue, rules=rules)
    traffic = _hourly_traffic(connection, data)
    probes = list(repository.probes(connection, end - STALE_MINUTES, end))
    health = {
        one.service: one.health
        for one in repository.metrics_samples(connection, end - STALE_MINUTES, end)
        if one.health
    }
    freshness = {one.service: one for one in repository.freshness(connection, first, end)}
    outages = repository.all_outages(connection)
    heads = repository.last_heads(connection, end)
    verified = ledger_states.verified_ledgers(connection)
    alarms = ledger_states.standing(ledger_states.all_alarms(connection))
    services = []
    for service in (one for one in catalogue.services if one.is_monitored):
        relevant = [one for one in outages if one.service in {service.slug, rules.outage_owner(service.slug)}]
        methods = [
            _method_status(data, catalogue, service, method, traffic, probes)
            for method in service.methods
            if data.minutes[service.full_name(method.name)][-1] != minute_states.ABSENT
        ]
        if methods:
            age = freshness.get(service.slug)
            provider = catalogue.party(service.provider)
            services.append(
                ServiceStatus(
                    service=Named(service.slug, service.fa, service.en),
                    provider=Named(service.provider, provider.fa, provider.en) if provider else Named("", "", ""),
                    health=health.get(service.slug, ""),
                    age_hours=age.age_minutes / 60 if age else None,
                    is_outdated=age is not None and _is_outdated(age, catalogue, rules),
                    covered_since=age.covered_since if age else None,
                    head=heads.get(service.slug),
                    checkpoint=verified[service.slug].cosigned_note if service.slug in verified else "",
                    alarm=alarms.get(service.slug),
                    running=tuple(one for one in relevant if state(one, now) == RUNNING),
                    coming=tuple(one for one in relevant if state(one, now) == COMING),
                    methods=tuple(methods),
                )
            )
    listed = tuple(_listed_status(data, catalogue, slug, probes) for slug in data.listed)
    return ExchangeStatus(instant_of(now), _newest_probe(connection, first, end), tuple(services), listed)


def _is_outdated(age: Freshness, catalogue: Catalogue, rules: Rulebook) -> bool:
    """Whether the data of *age* is older than the minimum rules or an agreement in force allow."""
    day = instant_of(age.minute).astimezone(TEHRAN).date()
    agreed = {
        one.rules
        for one in catalogue.agreements
        if one.service == age.service and one.since <= day and (one.until is None or day <= one.until)
    }
    objectives = (each for slug in {rules.entering, *agreed} for each in rules.rule_set(slug).objectives)
    return any(each.metric is Sli.FRESHNESS and not each.is_met_by(age.age_minutes / 60) for each in objectives)


def _method_status(
    data: PeriodData,
    catalogue: Catalogue,
    service: Service,
    method: Method,
    traffic: dict[str, list[Tally]],
    probes: Iterable[Probe],
) -> MethodStatus:
    name = service.full_name(method.name)
    minutes, is_counted = bytes(data.minutes[name]), data.is_counted(name)
    hours = traffic.get(name) or [Tally() for _ in range(DAY // HOUR)]
    total = Tally()
    for tally in hours:
        total.add(tally)
    newest = {probe.consumer: probe for probe in probes if probe.method == name}
    current = _current_state(minutes)
    return MethodStatus(
        name=name,
        fa=method.fa,
        en=method.en,
        state=minute_states.NAMES[current],
        since=_state_since(minutes, current, data.first_minute),
        availability=StateMinutes.of(data.own_minutes[name]).availability,
        minutes=minutes,
        hours=tuple(map(summarize, hours)) if is_counted else (),
        day=summarize(total) if is_counted else None,
        consumers=tuple(
            ConsumerStatus(
                named_consumer(catalogue, legal_id),
                minute_states.NAMES[minute_states.consumer_state(probe.fault, current)],
                probe.reason,
            )
            for legal_id, probe in sorted(newest.items())
        ),
    )


def _listed_status(data: PeriodData, catalogue: Catalogue, slug: str, probes: Iterable[Probe]) -> ListedStatus:
    minutes, service = bytes(data.listed[slug]), catalogue.service(slug)
    provider = catalogue.party(service.provider) if service else None
    return ListedStatus(
        name=slug,
        fa=service.fa if service else slug,
        en=service.en if service else slug,
        provider=Named(provider.slug, provider.fa, provider.en) if provider else Named("", "", ""),
        state=minute_states.NAMES[_current_state(minutes)],
        reason=next((one.reason for one in reversed(list(probes)) if one.method == slug), ""),
        availability=StateMinutes.of(minutes).availability,
        minutes=minutes,
    )


def _current_state(minutes: bytes) -> int:
    # Minutes before a method was in service are skipped like unmeasured ones.
    known = (
        state
        for state in reversed(minutes[-STALE_MINUTES:])
        if state not in {minute_states.UNMEASURED, minute_states.ABSENT}
    )
    return next(known, minute_states.UNMEASURED)


def _state_since(minutes: bytes, current: int, first_minute: int) -> datetime | None:
    """When the current run of state *current* began. Unmeasured minutes don't interrupt a run."""
    start = None
    for at in range(len(minutes) - 1, -1, -1):
        if minutes[at] == current:
            start = at
        elif minutes[at] != minute_states.UNMEASURED:
            break
    else:
        return None
    return None if start is None or current == minute_states.UNMEASURED else instant_of(first_minute + start)


def _hourly_traffic(connection: Connection, data: PeriodData) -> dict[str, list[Tally]]:
    """Tally of each hour, by method."""
    found: dict[str, list[Tally]] = {}
    for one in traffic_store.observations(connection, data.first_minute, data.end_minute):
        hours = found.setdefault(one.method, [Tally() for _ in range(DAY // HOUR)])
        hours[(one.minute - data.first_minute) // HOUR].add(one.tally)
    return found


def _newest_probe(connection: Connection, first: int, end: int) -> datetime | None:
    minute = repository.newest_probe(connection, first, end)
    return None if minute is None else instant_of(minute)
