"""Builds the report of a month for one audience."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from estelam.catalogue.model import Catalogue, Service
from estelam.telemetry import histogram
from quality.attribution import Attribution
from quality.evaluation import incidents, slo_results
from quality.evaluation.actions import list_actions
from quality.evaluation.audience import Audience
from quality.evaluation.minute_states import StateMinutes
from quality.evaluation.period_data import Key, PeriodData
from quality.evaluation.report_model import (
    VERSION,
    ConsumerReport,
    Counts,
    Coverage,
    DataStatus,
    DayReport,
    LedgerAlarmReport,
    LedgerStatus,
    ListedReport,
    MethodReport,
    Minutes,
    Named,
    Report,
    StillCalling,
)
from quality.periods import instant_of, jalali
from quality.records import LedgerAlarm, Tally
from quality.slo import Rulebook

Traffic = dict[Key, dict[date, Tally]]
"""Tally of each day, by method and consumer."""
_STATES = ("up", "provider", "exchange", "unknown", "planned", "unmeasured")


@dataclass(frozen=True, slots=True)
class AudienceView:
    """The data of a month that one audience may see."""

    data: PeriodData
    audience: Audience
    catalogue: Catalogue
    rules: Rulebook

    def methods(self) -> list[str]:
        """Full names of the visible methods that were in service in the month."""
        last = self.data.days[-1][0]
        first = self.data.days[0][0]
        return [
            name
            for name, (service, method) in self.data.methods.items()
            if self.audience.sees_method(service, method.name, self.catalogue)
            and (method.introduced is None or method.introduced <= last)
            and (method.sunset is None or method.sunset > first)
        ]

    def services(self) -> list[Service]:
        """Services of the visible methods."""
        mine = {self.data.methods[name][0].slug for name in self.methods()}
        return [service for service in self.catalogue.services if service.slug in mine]

    def listed(self) -> list[Service]:
        """Visible services that the catalogue only lists."""
        seen = self.audience.sees_service
        return [one for one in self.catalogue.services if one.slug in self.data.listed and seen(one, self.catalogue)]

    def traffic(self, methods: Iterable[str]) -> Traffic:
        """The visible traffic of *methods*."""
        wanted = set(methods)
        return {
            key: dict(days.items())
            for key, days in self.data.traffic.items()
            if key[0] in wanted and self.audience.sees_traffic(key, self.data)
        }


def build_report(view: AudienceView, issued: datetime) -> Report:
    """Build the report of *view*, issued at *issued*."""
    data, methods = view.data, view.methods()
    traffic = view.traffic(methods)
    total = _sum(tally for days in traffic.values() for tally in days.values())
    services = view.services()
    slugs = {service.slug for service in services}
    listed = view.listed()
    measured = [data.own_minutes[name] for name in methods] or [data.listed[service.slug] for service in listed]
    minutes = summarize_minutes(StateMinutes.of(b"".join(measured)))
    coverage = Coverage.of(minutes)
    report = Report(
        version=VERSION,
        month=str(data.period),
        begins=instant_of(data.first_minute),
        ends=instant_of(data.period.end_minute),
        data_until=instant_of(data.end_minute),
        interim=data.end_minute < data.period.end_minute,
        is_complete=coverage is not Coverage.NOT_MEASURED and all(data.is_complete(service) for service in services),
        coverage=coverage,
        issued=issued,
        audience=view.audience.name,
        reader=Named(view.audience.party.slug, view.audience.party.fa, view.audience.party.en),
        services=tuple(Named(service.slug, service.fa, service.en) for service in services),
        counts=summarize(total) if any(map(data.is_counted, methods)) else None,
        minutes=minutes,
        methods=tuple(_method(view, name, traffic) for name in methods),
        consumers=tuple(_consumers(view, traffic)),
        still_calling=tuple(_still_calling(view, traffic)),
        outages=tuple(
            incidents.list_outages(
                view.audience, data, view.catalogue, view.rules, methods, [service.slug for service in listed]
            )
        ),
        listed=tuple(_listed(view, service) for service in listed),
        slo_results=tuple(slo_results.evaluate_rules(view.audience, data, view.catalogue, view.rules, methods)),
        data=tuple(_data(data, service) for service in services),
        ledgers=tuple(
            LedgerStatus(head.service, head.size, head.root.hex(), instant_of(head.minute))
            for head in data.heads.values()
            if head.service in slugs
        ),
        ledger_alarms=tuple(_alarm(alarm) for alarm in data.alarms if alarm.service in slugs),
    )
    return replace(report, actions=tuple(list_actions(report, view.catalogue)))


def _alarm(alarm: LedgerAlarm) -> LedgerAlarmReport:
    return LedgerAlarmReport(
        service=alarm.service,
        kind=alarm.kind.value,
        found=instant_of(alarm.found_minute),
        verified=alarm.verified_head,
        acknowledged=None if alarm.acknowledged_minute is None else instant_of(alarm.acknowledged_minute),
        reason=alarm.reason,
    )


def summarize(tally: Tally) -> Counts:
    """Counts and percentiles of *tally*."""
    found = tally.counts
    micros = [histogram.percentile(tally.latencies, share) for share in (0.50, 0.95, 0.99)]
    p50, p95, p99 = (None if one is None else one / 1000 for one in micros)
    return Counts(
        inquiries=tally.total,
        answered=found[None],
        provider=found[Attribution.PROVIDER],
        exchange=found[Attribution.EXCHANGE],
        consumer=found[Attribution.CONSUMER],
        ungranted=found[Attribution.UNGRANTED],
        throttled=found[Attribution.THROTTLED],
        unknown=found[Attribution.UNKNOWN],
        planned=found[Attribution.PLANNED],
        dependency=found[Attribution.DEPENDENCY],
        p50=p50,
        p95=p95,
        p99=p99,
    )


def _method(view: AudienceView, name: str, traffic: Traffic) -> MethodReport:
    data = view.data
    service, method = data.methods[name]
    mine = [days for (of, _), days in traffic.items() if of == name]
    until = data.traffic_until(service)
    by_day = [_day(data, name, mine, until, day=day, first=first, end=end) for day, first, end in data.days]
    minutes, probed_until = summarize_minutes(StateMinutes.of(data.own_minutes[name])), data.probed_until.get(name)
    return MethodReport(
        method=name,
        name=method.name,
        fa=method.fa,
        en=method.en,
        service=service.slug,
        introduced=method.introduced,
        deprecated=method.deprecated,
        sunset=method.sunset,
        replaced_by=method.replaced_by,
        minutes=minutes,
        coverage=Coverage.of(minutes),
        counts=summarize(_sum(tally for days in mine for tally in days.values())) if data.is_counted(name) else None,
        traffic_until=None if until is None else instant_of(min(until, data.end_minute)),
        probed_until=None if probed_until is None else instant_of(probed_until),
        is_complete=data.is_complete(service),
        days=tuple(by_day),
    )


def _listed(view: AudienceView, service: Service) -> ListedReport:
    data, slug = view.data, service.slug
    provider, probed_until = view.catalogue.party(service.provider), data.probed_until.get(slug)
    minutes = summarize_minutes(StateMinutes.of(data.listed[slug]))
    return ListedReport(
        service=Named(slug, service.fa, service.en),
        provider=Named(service.provider, provider.fa, provider.en) if provider else Named("", "", ""),
        minutes=minutes,
        coverage=Coverage.of(minutes),
        probed_until=None if probed_until is None else instant_of(probed_until),
        days=tuple(
            _day_of(data, data.listed[slug], None, day=day, first=first, end=end) for day, first, end in data.days
        ),
    )


def _day(
    data: PeriodData, name: str, traffic: list[dict[date, Tally]], until: int | None, *, day: date, first: int, end: int
) -> DayReport:
    tallies = [days[day] for days in traffic if day in days]
    is_known = first < data.end_minute and (bool(tallies) or (until is not None and first < until))
    counts = summarize(_sum(tallies)) if is_known else None
    return _day_of(data, data.own_minutes[name], counts, day=day, first=first, end=end)


def _day_of(
    data: PeriodData, states: bytearray, counts: Counts | None, *, day: date, first: int, end: int
) -> DayReport:
    minutes = summarize_minutes(StateMinutes.of(states[first - data.first_minute : end - data.first_minute]))
    return DayReport(
        day=day,
        jalali=jalali(day).isoformat(),
        minutes=minutes,
        coverage=Coverage.of(minutes, is_future=first >= data.end_minute),
        counts=counts,
    )


def _consumers(view: AudienceView, traffic: Traffic) -> Iterable[ConsumerReport]:
    for (method, legal_id), days in sorted(traffic.items()):
        total = summarize(_sum(days.values()))
        yield ConsumerReport(incidents.named_consumer(view.catalogue, legal_id), legal_id, method, total)


def _still_calling(view: AudienceView, traffic: Traffic) -> Iterable[StillCalling]:
    for (method, legal_id), days in sorted(traffic.items()):
        since = view.data.methods[method][1].deprecated
        late = {day: tally.total for day, tally in days.items() if since and since <= day and tally.total}
        if since and late:
            consumer = incidents.named_consumer(view.catalogue, legal_id)
            yield StillCalling(method, consumer, since, sum(late.values()), max(late))


def _data(data: PeriodData, service: Service) -> DataStatus:
    ages = data.ages.get(service.slug)
    oldest = max(ages.values()) / 60 if ages else None
    return DataStatus(service.slug, oldest, data.covered_since.get(service.slug))


def summarize_minutes(time: StateMinutes) -> Minutes:
    """The minutes in each state of *time*."""
    is_measured = bool(time.measured)
    return Minutes(
        up=time.up if is_measured else None,
        provider=time.provider if is_measured else None,
        exchange=time.exchange if is_measured else None,
        unknown=time.unknown if is_measured else None,
        planned=time.planned,
        unmeasured=time.unmeasured,
        availability=time.availability,
    )


def sum_minutes(parts: Iterable[Minutes]) -> Minutes:
    """The minutes of all *parts* together."""
    listed = list(parts)
    return summarize_minutes(StateMinutes(**{name: sum(getattr(one, name) or 0 for one in listed) for name in _STATES}))


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
