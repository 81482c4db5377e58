"""The month's outages, one line each: measured ones with their attribution, and announced ones with their notice."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from estelam.catalogue.model import Catalogue
from quality.attribution import Attribution
from quality.evaluation import minute_states
from quality.evaluation.audience import Audience
from quality.evaluation.minute_states import Incident
from quality.evaluation.period_data import PeriodData, is_announced_in_time
from quality.evaluation.report_model import Named, Outage
from quality.periods import instant_of
from quality.records import PlannedOutage
from quality.slo import Rulebook


def named_consumer(catalogue: Catalogue, legal_id: str) -> Named:
    """Who bears *legal_id*, as far as the catalogue knows."""
    party = next((party for party in catalogue.parties if party.legal_id == legal_id), None)
    if party is None:
        return Named(legal_id, "خارج از فهرست", "Not in the catalogue")
    return Named(party.slug, party.fa, party.en)


def list_outages(
    audience: Audience, data: PeriodData, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]
) -> list[Outage]:
    """All outages that *audience* may see, in the order of their beginning.

    What fell and rose together is one: methods of a service, and services that stand on it.
    """
    together: dict[tuple[str, str, Incident], list[str]] = {}
    for name in methods:
        for run in minute_states.find_incidents(data.minutes[name], data.first_minute, rules.shortest_outage_minutes):
            if run.fault in {Attribution.PROVIDER, Attribution.EXCHANGE}:
                together.setdefault((rules.outage_owner(data.methods[name][0].slug), "", run), []).append(name)
    for (name, legal_id), minutes in data.consumer_minutes.items():
        if name in methods and audience.sees_traffic((name, legal_id), data):
            for run in minute_states.find_incidents(minutes, data.first_minute, rules.shortest_outage_minutes):
                if run.fault is Attribution.CONSUMER:
                    together.setdefault((data.methods[name][0].slug, legal_id, run), []).append(name)
    found = [
        _measured_outage(
            data, _named_service(catalogue, slug), names, run, named_consumer(catalogue, legal_id) if legal_id else None
        )
        for (slug, legal_id, run), names in together.items()
    ]
    found += _planned_outages(data, catalogue, rules, methods)
    return sorted(found, key=lambda outage: (outage.first, outage.service.slug, outage.fault))


def _planned_outages(
    data: PeriodData, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]
) -> Iterator[Outage]:
    for announced in data.planned_outages:
        concerned = [
            name
            for name in methods
            for slug in [data.methods[name][0].slug]
            if announced.service in {slug, rules.outage_owner(slug)}
        ]
        if concerned:
            first = max(announced.first_minute, data.first_minute)
            end = min(announced.end_minute, data.end_minute)
            yield Outage(
                service=_named_service(catalogue, announced.service),
                methods=tuple(concerned),
                fault=Attribution.PLANNED,
                consumer=None,
                first=instant_of(first),
                end=instant_of(end),
                minutes=end - first,
                down=end - first,
                announced=instant_of(announced.announced_minute),
                announced_until=_announced_until(announced),
                counted_apart=is_announced_in_time(announced, rules),
                reason_fa=announced.reason_fa,
                reason_en=announced.reason_en,
            )


def _measured_outage(
    data: PeriodData, service: Named, methods: Sequence[str], run: Incident, consumer: Named | None
) -> Outage:
    told = None if consumer else _late_announcement(data, service.slug, run)
    return Outage(
        service=service,
        methods=tuple(methods),
        fault=run.fault,
        consumer=consumer,
        first=instant_of(run.first),
        end=instant_of(run.end),
        minutes=run.end - run.first,
        down=run.down,
        announced=instant_of(told.announced_minute) if told else None,
        announced_until=_announced_until(told) if told else None,
        counted_apart=False,
        reason_fa=told.reason_fa if told else "",
        reason_en=told.reason_en if told else "",
    )


def _late_announcement(data: PeriodData, service: str, run: Incident) -> PlannedOutage | None:
    """An announcement, made too late to count, of just this outage."""
    meets = (one for one in data.planned_outages if one.first_minute < run.end and run.first < one.end_minute)
    return next((one for one in meets if one.service == service), None)


def _announced_until(told: PlannedOutage) -> datetime:
    early = told.announced_end_minute
    return instant_of(told.end_minute if early is None else early)


def _named_service(catalogue: Catalogue, slug: str) -> Named:
    found = catalogue.service(slug)
    return Named(slug, found.fa, found.en) if found else Named(slug, slug, slug)
