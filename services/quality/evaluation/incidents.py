"""The month's outages, one line each: measured ones with their attribution, and announced ones with their notice."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from estelam.catalogue.model import Catalogue
from quality.attribution import Fault
from quality.evaluation import minute_states
from quality.evaluation.audience import Audience
from quality.evaluation.minute_states import Run
from quality.evaluation.period_data import Seen, announced_in_time
from quality.evaluation.report_model import Named, Outage
from quality.periods import instant_of
from quality.repository import Announced
from quality.slo import Rulebook


def consumer(catalogue: Catalogue, legal_id: str) -> Named:
    """Who bears *legal_id*, as far as the catalogue knows."""
    party = next((party for party in catalogue.parties if party.legal_id == legal_id), None)
    if party is None:
        return Named(legal_id, "خارج از فهرست", "Not in the catalogue")
    return Named(party.slug, party.fa, party.en)


def outages(
    audience: Audience, seen: Seen, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]
) -> list[Outage]:
    """All outages that *audience* may see, in the order of their beginning.

    What fell and rose together is one: methods of a service, and services that stand on it.
    """
    together: dict[tuple[str, str, Run], list[str]] = {}
    for name in methods:
        for run in minute_states.runs(seen.minutes[name], seen.first_minute, rules.shortest_outage_minutes):
            if run.fault in {Fault.PROVIDER, Fault.EXCHANGE}:
                together.setdefault((rules.base(seen.methods[name][0].slug), "", run), []).append(name)
    for (name, legal_id), minutes in seen.own.items():
        if name in methods and audience.sees_traffic((name, legal_id), seen):
            for run in minute_states.runs(minutes, seen.first_minute, rules.shortest_outage_minutes):
                if run.fault is Fault.CONSUMER:
                    together.setdefault((seen.methods[name][0].slug, legal_id, run), []).append(name)
    found = [
        _measured(seen, _service(catalogue, slug), names, run, consumer(catalogue, legal_id) if legal_id else None)
        for (slug, legal_id, run), names in together.items()
    ]
    found += _planned(seen, catalogue, rules, methods)
    return sorted(found, key=lambda outage: (outage.first, outage.service.slug, outage.fault))


def _planned(seen: Seen, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]) -> Iterator[Outage]:
    for announced in seen.announced:
        concerned = [
            name
            for name in methods
            for slug in [seen.methods[name][0].slug]
            if announced.service in {slug, rules.base(slug)}
        ]
        if concerned:
            first = max(announced.first_minute, seen.first_minute)
            end = min(announced.end_minute, seen.end_minute)
            yield Outage(
                service=_service(catalogue, announced.service),
                methods=tuple(concerned),
                fault=Fault.PLANNED,
                consumer=None,
                first=instant_of(first),
                end=instant_of(end),
                minutes=end - first,
                down=end - first,
                announced=instant_of(announced.announced_minute),
                announced_until=_announced_until(announced),
                counted_apart=announced_in_time(announced, rules),
                reason_fa=announced.reason_fa,
                reason_en=announced.reason_en,
            )


def _measured(seen: Seen, service: Named, methods: Sequence[str], run: Run, consumer: Named | None) -> Outage:
    told = None if consumer else _told(seen, service.slug, run)
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


def _told(seen: Seen, service: str, run: Run) -> Announced | None:
    """An announcement, made too late to count, of just this outage."""
    meets = (one for one in seen.announced if one.first_minute < run.end and run.first < one.end_minute)
    return next((one for one in meets if one.service == service), None)


def _announced_until(told: Announced) -> datetime:
    early = told.announced_end_minute
    return instant_of(told.end_minute if early is None else early)


def _service(catalogue: Catalogue, slug: str) -> Named:
    found = catalogue.service(slug)
    return Named(slug, found.fa, found.en) if found else Named(slug, slug, slug)
