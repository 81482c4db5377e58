"""Outages of the month: measured ones with their attribution, and planned ones with their notice."""

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

_OF_SERVICES = {Attribution.PROVIDER, Attribution.EXCHANGE, Attribution.UNKNOWN}


def named_consumer(catalogue: Catalogue, legal_id: str) -> Named:
    """The party with *legal_id*, or a placeholder if it is not in the catalogue."""
    party = next((party for party in catalogue.parties if party.legal_id == legal_id), None)
    if party is None:
        return Named(legal_id, "خارج از فهرست", "Not in the catalogue")
    return Named(party.slug, party.fa, party.en)


def list_outages(
    audience: Audience,
    data: PeriodData,
    catalogue: Catalogue,
    rules: Rulebook,
    methods: Sequence[str],
    listed: Sequence[str],
) -> list[Outage]:
    """All outages that *audience* may see, of *methods* and of *listed* services, ordered by start.

    Methods of a service, and of services that depend on it, with the same incident are listed as one outage.
    """
    grouped: dict[tuple[str, str, Incident], list[str]] = {}
    for name in methods:
        for incident in _incidents(data, data.minutes[name], rules):
            grouped.setdefault((_owner(data, name, rules, incident), "", incident), []).append(name)
    for slug in listed:
        grouped |= {(slug, "", incident): [] for incident in _incidents(data, data.listed[slug], rules)}
    for (name, legal_id), minutes in data.consumer_minutes.items():
        if name in methods and audience.sees_traffic((name, legal_id), data):
            for incident in minute_states.find_incidents(minutes, data.first_minute, rules.shortest_outage_minutes):
                if incident.fault is Attribution.CONSUMER:
                    grouped.setdefault((data.methods[name][0].slug, legal_id, incident), []).append(name)
    found = [
        _measured_outage(
            data,
            _named_service(catalogue, slug),
            names,
            incident,
            named_consumer(catalogue, legal_id) if legal_id else None,
        )
        for (slug, legal_id, incident), names in grouped.items()
    ]
    found += _planned_outages(data, catalogue, rules, methods, listed)
    return sorted(found, key=lambda outage: (outage.first, outage.service.slug, outage.fault))


def _incidents(data: PeriodData, minutes: bytearray, rules: Rulebook) -> Iterator[Incident]:
    """The incidents in *minutes* that are no single consumer's."""
    for incident in minute_states.find_incidents(minutes, data.first_minute, rules.shortest_outage_minutes):
        if incident.fault in _OF_SERVICES:
            yield incident


def _owner(data: PeriodData, name: str, rules: Rulebook, incident: Incident) -> str:
    """The service that *incident* is listed under: the one that its own depends on, if that was down meanwhile."""
    slug = data.methods[name][0].slug
    owner = rules.outage_owner(slug)
    first, end = incident.first - data.first_minute, incident.end - data.first_minute
    return owner if data.is_down(owner, first, end) else slug


def _planned_outages(
    data: PeriodData, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str], listed: Sequence[str]
) -> Iterator[Outage]:
    for announced in data.planned_outages:
        affected = [
            name
            for name in methods
            for slug in [data.methods[name][0].slug]
            if announced.service in {slug, rules.outage_owner(slug)}
        ]
        if affected or announced.service in listed:
            first = max(announced.first_minute, data.first_minute)
            end = min(announced.end_minute, data.end_minute)
            yield Outage(
                service=_named_service(catalogue, announced.service),
                methods=tuple(affected),
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
    data: PeriodData, service: Named, methods: Sequence[str], incident: Incident, consumer: Named | None
) -> Outage:
    announced = None if consumer else _late_announcement(data, service.slug, incident)
    return Outage(
        service=service,
        methods=tuple(methods),
        fault=incident.fault,
        consumer=consumer,
        first=instant_of(incident.first),
        end=instant_of(incident.end),
        minutes=incident.end - incident.first,
        down=incident.down,
        announced=instant_of(announced.announced_minute) if announced else None,
        announced_until=_announced_until(announced) if announced else None,
        counted_apart=False,
        reason_fa=announced.reason_fa if announced else "",
        reason_en=announced.reason_en if announced else "",
    )


def _late_announcement(data: PeriodData, service: str, incident: Incident) -> PlannedOutage | None:
    """An announcement of this outage that was made too late to count."""
    overlapping = (
        one for one in data.planned_outages if one.first_minute < incident.end and incident.first < one.end_minute
    )
    return next((one for one in overlapping if one.service == service), None)


def _announced_until(outage: PlannedOutage) -> datetime:
    announced = outage.announced_end_minute
    return instant_of(outage.end_minute if announced is None else announced)


def _named_service(catalogue: Catalogue, slug: str) -> Named:
    found = catalogue.service(slug)
    return Named(slug, found.fa, found.en) if found else Named(slug, slug, slug)
