"""The month's outages, one line each: measured ones with their attribution, and announced ones with their notice."""

from collections.abc import Iterator, Sequence

from estelam.catalogue.model import Catalogue
from quality import states
from quality.audience import Audience
from quality.faults import Fault
from quality.figures import Named, Outage
from quality.month import Seen, announced_in_time
from quality.months import instant_of
from quality.rulebook import Rulebook
from quality.states import Run
from quality.store import Announced


def consumer(catalogue: Catalogue, legal_id: str) -> Named:
    """Who bears *legal_id*, as far as the catalogue knows."""
    party = next((party for party in catalogue.parties if party.legal_id == legal_id), None)
    if party is None:
        return Named(legal_id, "خارج از فهرست", "Not in the catalogue")
    return Named(party.slug, party.fa, party.en)


def outages(
    audience: Audience, seen: Seen, catalogue: Catalogue, rules: Rulebook, methods: Sequence[str]
) -> list[Outage]:
    """All outages that *audience* may see, in the order of their beginning."""
    found = [*_planned(seen, rules, methods), *_measured(seen, rules, methods)]
    for (method, legal_id), minutes in seen.own.items():
        if method in methods and audience.sees_traffic((method, legal_id), seen):
            runs = states.runs(minutes, seen.first_minute, rules.shortest_outage_minutes)
            named = consumer(catalogue, legal_id)
            found += [_outage(seen, [method], run, named) for run in runs if run.fault is Fault.CONSUMER]
    return sorted(found, key=lambda outage: (outage.first, outage.service, outage.fault))


def _planned(seen: Seen, rules: Rulebook, methods: Sequence[str]) -> Iterator[Outage]:
    for announced in seen.announced:
        mine = [name for name in methods if seen.methods[name][0].slug == announced.service]
        if mine:
            first = max(announced.first_minute, seen.first_minute)
            end = min(announced.end_minute, seen.end_minute)
            yield Outage(
                service=announced.service,
                methods=tuple(mine),
                fault=Fault.PLANNED,
                consumer=None,
                first=instant_of(first),
                end=instant_of(end),
                minutes=end - first,
                down=end - first,
                announced=instant_of(announced.announced_minute),
                counted_apart=announced_in_time(announced, rules),
                reason_fa=announced.reason_fa,
                reason_en=announced.reason_en,
            )


def _measured(seen: Seen, rules: Rulebook, methods: Sequence[str]) -> Iterator[Outage]:
    """Those of a service's methods that fell and rose together are one."""
    together: dict[tuple[str, Run], list[str]] = {}
    for name in methods:
        for run in states.runs(seen.minutes[name], seen.first_minute, rules.shortest_outage_minutes):
            if run.fault in {Fault.PROVIDER, Fault.EXCHANGE}:
                together.setdefault((seen.methods[name][0].slug, run), []).append(name)
    for (_, run), names in together.items():
        yield _outage(seen, names, run, None)


def _outage(seen: Seen, methods: Sequence[str], run: Run, consumer: Named | None) -> Outage:
    service = seen.methods[methods[0]][0].slug
    told = _told(seen, service, run)
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
        counted_apart=False,
        reason_fa=told.reason_fa if told else "",
        reason_en=told.reason_en if told else "",
    )


def _told(seen: Seen, service: str, run: Run) -> Announced | None:
    """An announcement, made too late to count, of just this outage."""
    meets = (one for one in seen.announced if one.first_minute < run.end and run.first < one.end_minute)
    return next((one for one in meets if one.service == service and run.fault is not Fault.CONSUMER), None)
