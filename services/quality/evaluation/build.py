"""From a month as it was seen to the figures that one reader may see."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from estelam.catalogue.model import Catalogue, Service
from quality import histogram
from quality.attribution import Fault
from quality.evaluation import incidents, slo_results
from quality.evaluation.audience import Audience
from quality.evaluation.minute_states import Time
from quality.evaluation.period_data import Key, Seen
from quality.evaluation.report_model import (
    ConsumerFigures,
    Counts,
    Data,
    DayFigures,
    Figures,
    Ledger,
    MethodFigures,
    Minutes,
    Named,
    StillCalling,
)
from quality.periods import instant_of, jalali
from quality.repository import Tally
from quality.slo import Rulebook

Traffic = dict[Key, dict[date, Tally]]
"""By method and consumer, each day's inquiries."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A month as one reader may see it."""

    seen: Seen
    audience: Audience
    catalogue: Catalogue
    rules: Rulebook

    def methods(self) -> list[str]:
        """The full names of the methods that are any concern of theirs and were in service in the month."""
        last = self.seen.days[-1][0]
        first = self.seen.days[0][0]
        return [
            name
            for name, (service, method) in self.seen.methods.items()
            if self.audience.sees_method(service, method.name, self.catalogue)
            and method.introduced <= last
            and (method.sunset is None or method.sunset > first)
        ]

    def services(self) -> list[Service]:
        """The services of those methods."""
        mine = {self.seen.methods[name][0].slug for name in self.methods()}
        return [service for service in self.catalogue.services if service.slug in mine]

    def traffic(self, methods: Iterable[str]) -> Traffic:
        """What they may see of the inquiries of *methods*."""
        wanted = set(methods)
        return {
            key: dict(days.items())
            for key, days in self.seen.traffic.items()
            if key[0] in wanted and self.audience.sees_traffic(key, self.seen)
        }


def gather(cut: Cut, issued: datetime) -> Figures:
    """The figures of *cut*."""
    seen, methods = cut.seen, cut.methods()
    traffic = cut.traffic(methods)
    whole = _sum(tally for days in traffic.values() for tally in days.values())
    services = cut.services()
    slugs = {service.slug for service in services}
    return Figures(
        month=str(seen.period),
        begins=instant_of(seen.first_minute),
        ends=instant_of(seen.period.end_minute),
        told_until=instant_of(seen.end_minute),
        interim=seen.end_minute < seen.period.end_minute,
        issued=issued,
        audience=cut.audience.name,
        reader=Named(cut.audience.party.slug, cut.audience.party.fa, cut.audience.party.en),
        services=tuple(Named(service.slug, service.fa, service.en) for service in services),
        counts=counts(whole),
        minutes=_minutes(Time.of(b"".join(seen.minutes[name] for name in methods))),
        methods=tuple(_method(cut, name, traffic) for name in methods),
        consumers=tuple(_consumers(cut, traffic)),
        still_calling=tuple(_still_calling(cut, traffic)),
        outages=tuple(incidents.outages(cut.audience, seen, cut.catalogue, cut.rules, methods)),
        judged=tuple(slo_results.judged(cut.audience, seen, cut.catalogue, cut.rules, methods)),
        data=tuple(_data(seen, service) for service in services),
        ledgers=tuple(
            Ledger(head.service, head.number, head.hash.hex(), head.entries, instant_of(head.minute))
            for head in seen.heads.values()
            if head.service in slugs
        ),
    )


def counts(tally: Tally) -> Counts:
    """*tally* as figures."""
    found = tally.counts
    micros = [histogram.percentile(tally.latencies, share) for share in (0.50, 0.95, 0.99)]
    p50, p95, p99 = (None if one is None else one / 1000 for one in micros)
    return Counts(
        inquiries=tally.total,
        answered=found[None],
        provider=found[Fault.PROVIDER],
        exchange=found[Fault.EXCHANGE],
        consumer=found[Fault.CONSUMER],
        ungranted=found[Fault.UNGRANTED],
        throttled=found[Fault.THROTTLED],
        planned=found[Fault.PLANNED],
        p50=p50,
        p95=p95,
        p99=p99,
    )


def _method(cut: Cut, name: str, traffic: Traffic) -> MethodFigures:
    seen = cut.seen
    service, method = seen.methods[name]
    mine = [days for (of, _), days in traffic.items() if of == name]
    by_day = [
        DayFigures(
            day=day,
            jalali=jalali(day).isoformat(),
            minutes=_minutes(Time.of(seen.minutes[name][first - seen.first_minute : end - seen.first_minute])),
            counts=counts(_sum(days[day] for days in mine if day in days)),
        )
        for day, first, end in seen.days
    ]
    return MethodFigures(
        method=name,
        name=method.name,
        fa=method.fa,
        en=method.en,
        service=service.slug,
        introduced=method.introduced,
        deprecated=method.deprecated,
        sunset=method.sunset,
        replaced_by=method.replaced_by,
        minutes=_minutes(Time.of(seen.minutes[name])),
        counts=counts(_sum(tally for days in mine for tally in days.values())),
        days=tuple(by_day),
    )


def _consumers(cut: Cut, traffic: Traffic) -> Iterable[ConsumerFigures]:
    for (method, legal_id), days in sorted(traffic.items()):
        whole = counts(_sum(days.values()))
        yield ConsumerFigures(incidents.consumer(cut.catalogue, legal_id), legal_id, method, whole)


def _still_calling(cut: Cut, traffic: Traffic) -> Iterable[StillCalling]:
    for (method, legal_id), days in sorted(traffic.items()):
        since = cut.seen.methods[method][1].deprecated
        late = {day: tally.total for day, tally in days.items() if since and since <= day and tally.total}
        if since and late:
            consumer = incidents.consumer(cut.catalogue, legal_id)
            yield StillCalling(method, consumer, since, sum(late.values()), max(late))


def _data(seen: Seen, service: Service) -> Data:
    ages = seen.ages.get(service.slug)
    oldest = max(ages.values()) / 60 if ages else None
    return Data(service.slug, oldest, seen.covered_since.get(service.slug))


def _minutes(time: Time) -> Minutes:
    return Minutes(time.up, time.provider, time.exchange, time.planned, time.unmeasured, time.availability)


def _sum(tallies: Iterable[Tally]) -> Tally:
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole
