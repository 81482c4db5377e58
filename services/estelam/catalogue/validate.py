"""Whether the records of a catalogue fit together: every name known, no period impossible, nothing agreed on twice."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations, pairwise
from typing import Any

from estelam.catalogue.model import Agreement, Catalogue, Grant, Method, Service


@dataclass(frozen=True, slots=True)
class Violation:
    """What does not fit, and where: keys and numbers from the catalogue down."""

    location: tuple[Hashable, ...]
    message: str


def violations(catalogue: Catalogue) -> list[Violation]:
    """All that does not fit; empty where the catalogue can be used."""
    return [flaw for rule in _RULES for flaw in rule(catalogue)]


def _names_are_given_once(catalogue: Catalogue) -> Iterator[Violation]:
    yield from _twice("parties", catalogue.parties, "slug")
    yield from _twice("parties", catalogue.parties, "legal_id")
    yield from _twice("registries", catalogue.registries, "slug")
    yield from _twice("registries", catalogue.registries, "n")
    yield from _twice("services", catalogue.services, "slug")
    yield from _twice("services", catalogue.services, "wire")
    yield from _twice("grants", catalogue.grants, "id")
    yield from _twice("agreements", catalogue.agreements, "id")
    yield from _twice("denied", catalogue.denied, "certificate")
    for at, service in enumerate(catalogue.services):
        for flaw in _twice("methods", service.methods, "name"):
            yield Violation(("services", at, *flaw.location), flaw.message)


def _twice(kind: str, records: Sequence[Any], key: str) -> Iterator[Violation]:
    first: dict[Any, int] = {}
    for at, record in enumerate(records):
        value = getattr(record, key)
        if value is not None and first.setdefault(value, at) != at:
            yield Violation((kind, at, key), f"{value} stands here a second time")


def _parties_are_known(catalogue: Catalogue) -> Iterator[Violation]:
    known = {party.slug for party in catalogue.parties}
    named: dict[str, tuple[Sequence[Any], str]] = {
        "parties": (catalogue.parties, "member_of"),
        "registries": (catalogue.registries, "custodian"),
        "services": (catalogue.services, "provider"),
        "grants": (catalogue.grants, "consumer"),
        "agreements": (catalogue.agreements, "consumer"),
        "denied": (catalogue.denied, "party"),
    }
    for kind, (records, key) in named.items():
        for at, record in enumerate(records):
            name = getattr(record, key)
            if name is not None and name not in known:
                yield Violation((kind, at, key), f"no party is called {name}")


def _classes_are_flat(catalogue: Catalogue) -> Iterator[Violation]:
    for at, party in enumerate(catalogue.parties):
        above = catalogue.party(party.member_of or "")
        if above and (above.member_of or above.legal_id):
            yield Violation(
                ("parties", at, "member_of"), f"{above.slug} is an organisation or a member itself, not a class"
            )


def _services_are_known(catalogue: Catalogue) -> Iterator[Violation]:
    registries = {registry.slug for registry in catalogue.registries}
    for at, service in enumerate(catalogue.services):
        if service.registry is not None and service.registry not in registries:
            yield Violation(("services", at, "registry"), f"no registry is called {service.registry}")
        if (service.wire is None) != (not service.methods):
            yield Violation(
                ("services", at), "a service that is provided has a wire name and methods, another has neither"
            )
    for at, grant in enumerate(catalogue.grants):
        yield from _grant_is_whole(grant, catalogue.service(grant.service), ("grants", at))
    for at, agreement in enumerate(catalogue.agreements):
        if catalogue.service(agreement.service) is None:
            yield Violation(("agreements", at, "service"), f"no service is called {agreement.service}")


def _grant_is_whole(grant: Grant, service: Service | None, place: tuple[Hashable, ...]) -> Iterator[Violation]:
    if service is None:
        yield Violation((*place, "service"), f"no service is called {grant.service}")
    elif service.wire is None:
        if grant.method or grant.quota or grant.demands:
            yield Violation(place, f"{service.slug} is listed alone: no method, quota or demand can be granted here")
    elif grant.method not in {method.name for method in service.methods}:
        yield Violation((*place, "method"), f"{service.slug} has no method {grant.method or 'where none is named'}")
    elif grant.quota is None:
        yield Violation(place, "a grant of a method that is provided here needs a quota")


def _periods_are_possible(catalogue: Catalogue) -> Iterator[Violation]:
    periods: dict[str, Iterable[Grant | Agreement]] = {"grants": catalogue.grants, "agreements": catalogue.agreements}
    for kind, records in periods.items():
        for at, record in enumerate(records):
            if record.until is not None and record.until < record.since:
                yield Violation((kind, at, "until"), "ends before it begins")


def _lives_are_possible(catalogue: Catalogue) -> Iterator[Violation]:
    wires = {name for name, _, _ in catalogue.methods()}
    for at, service in enumerate(catalogue.services):
        for number, method in enumerate(service.methods):
            place = ("services", at, "methods", number)
            yield from _life_is_possible(method, place)
            if method.replaced_by is not None and method.replaced_by not in wires - {service.full_name(method.name)}:
                yield Violation((*place, "replaced_by"), f"no other method is called {method.replaced_by}")


def _life_is_possible(method: Method, place: tuple[Hashable, ...]) -> Iterator[Violation]:
    steps = [(name, day) for name in ("introduced", "deprecated", "sunset") if (day := getattr(method, name))]
    for (earlier, before), (later, after) in pairwise(steps):
        if after < before:
            yield Violation((*place, later), f"lies before {earlier}")
    if method.sunset and not method.deprecated:
        yield Violation((*place, "sunset"), "a method is deprecated before its sunset")
    if method.notice and not method.introduced <= method.notice <= (method.sunset or date.max):
        yield Violation((*place, "notice"), "lies outside the method's life")


def _nothing_overlaps(catalogue: Catalogue) -> Iterator[Violation]:
    yield from _overlaps(catalogue, "grants", catalogue.grants, lambda record: (record.service, record.method))
    yield from _overlaps(catalogue, "agreements", catalogue.agreements, lambda record: record.service)


def _overlaps(
    catalogue: Catalogue, kind: str, records: Sequence[Any], about: Callable[[Any], Hashable]
) -> Iterator[Violation]:
    numbered = [
        (at, record, {party.slug for party in catalogue.consumers(record.consumer)})
        for at, record in enumerate(records)
    ]
    for (_, one, ones), (at, other, others) in combinations(numbered, 2):
        if about(one) == about(other) and ones & others and _meet(one, other):
            whom = ", ".join(sorted(ones & others))
            yield Violation((kind, at), f"overlaps {one.id}: both hold for {whom} on the same days")


def _meet(one: Grant | Agreement, other: Grant | Agreement) -> bool:
    return one.since <= (other.until or date.max) and other.since <= (one.until or date.max)


_RULES: tuple[Callable[[Catalogue], Iterator[Violation]], ...] = (
    _names_are_given_once,
    _parties_are_known,
    _classes_are_flat,
    _services_are_known,
    _periods_are_possible,
    _lives_are_possible,
    _nothing_overlaps,
)
