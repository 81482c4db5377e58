"""Validate the records of a catalogue against each other: references, unique names, possible periods, no overlaps."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations, pairwise
from typing import Any

from estelam.catalogue.model import Agreement, Catalogue, Grant, Method, Service


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule; *location* is the keys and list indexes from the catalogue down."""

    location: tuple[Hashable, ...]
    message: str


def violations(catalogue: Catalogue) -> list[Violation]:
    """Return every broken rule; an empty list means that *catalogue* is valid."""
    return [found for rule in _RULES for found in rule(catalogue)]


def _names_are_unique(catalogue: Catalogue) -> Iterator[Violation]:
    yield from _duplicates("parties", catalogue.parties, "slug")
    yield from _duplicates("parties", catalogue.parties, "legal_id")
    yield from _duplicates("registries", catalogue.registries, "slug")
    yield from _duplicates("registries", catalogue.registries, "n")
    yield from _duplicates("services", catalogue.services, "slug")
    yield from _duplicates("services", catalogue.services, "wire")
    yield from _duplicates("grants", catalogue.grants, "id")
    yield from _duplicates("agreements", catalogue.agreements, "id")
    yield from _duplicates("duties", catalogue.duties, "id")
    yield from _duplicates("denied", catalogue.denied, "name")
    for index, service in enumerate(catalogue.services):
        for found in _duplicates("methods", service.methods, "name"):
            yield Violation(("services", index, *found.location), found.message)


def _duplicates(kind: str, records: Sequence[Any], key: str) -> Iterator[Violation]:
    first: dict[Any, int] = {}
    for index, record in enumerate(records):
        value = getattr(record, key)
        if value is not None and first.setdefault(value, index) != index:
            yield Violation((kind, index, key), f"{value} is used twice")


def _parties_exist(catalogue: Catalogue) -> Iterator[Violation]:
    known = {party.slug for party in catalogue.parties}
    references: dict[str, tuple[Sequence[Any], str]] = {
        "parties": (catalogue.parties, "member_of"),
        "registries": (catalogue.registries, "custodian"),
        "services": (catalogue.services, "provider"),
        "grants": (catalogue.grants, "consumer"),
        "agreements": (catalogue.agreements, "consumer"),
        "denied": (catalogue.denied, "party"),
    }
    for kind, (records, key) in references.items():
        for index, record in enumerate(records):
            name = getattr(record, key)
            if name is not None and name not in known:
                yield Violation((kind, index, key), f"no party is named {name}")
    for index, duty in enumerate(catalogue.duties):
        for number, owner in enumerate(duty.owners):
            if owner not in known:
                yield Violation(("duties", index, "owners", number), f"no party is named {owner}")


def _classes_are_flat(catalogue: Catalogue) -> Iterator[Violation]:
    for index, party in enumerate(catalogue.parties):
        parent = catalogue.party(party.member_of or "")
        if parent and not parent.is_class:
            yield Violation(
                ("parties", index, "member_of"), f"{parent.slug} is an organisation, not a class (is_class)"
            )
        for key in ("member_of", "legal_id"):
            if party.is_class and getattr(party, key) is not None:
                yield Violation(("parties", index, key), f"{party.slug} is a class, which has none")


def _services_exist(catalogue: Catalogue) -> Iterator[Violation]:
    registries = {registry.slug for registry in catalogue.registries}
    for index, service in enumerate(catalogue.services):
        if service.registry is not None and service.registry not in registries:
            yield Violation(("services", index, "registry"), f"no registry is named {service.registry}")
        if (service.wire is None) != (not service.methods):
            yield Violation(("services", index), "a service has both a wire name and methods, or neither")
    for index, duty in enumerate(catalogue.duties):
        if duty.registry is not None and duty.registry not in registries:
            yield Violation(("duties", index, "registry"), f"no registry is named {duty.registry}")
    for index, grant in enumerate(catalogue.grants):
        yield from _grant_is_complete(grant, catalogue.service(grant.service), ("grants", index))
    for index, agreement in enumerate(catalogue.agreements):
        if catalogue.service(agreement.service) is None:
            yield Violation(("agreements", index, "service"), f"no service is named {agreement.service}")


def _grant_is_complete(grant: Grant, service: Service | None, location: tuple[Hashable, ...]) -> Iterator[Violation]:
    if service is None:
        yield Violation((*location, "service"), f"no service is named {grant.service}")
    elif service.wire is None:
        if grant.method or grant.quota or grant.required_metadata:
            yield Violation(location, f"{service.slug} is listed only: remove method, quota and required_metadata")
    elif grant.method is None:
        yield Violation((*location, "method"), f"must name a method of {service.slug}")
    elif grant.method not in {method.name for method in service.methods}:
        yield Violation((*location, "method"), f"{service.slug} has no method {grant.method}")
    elif grant.quota is None:
        yield Violation(location, "a grant of a method needs a quota")


def _grounds_are_stated(catalogue: Catalogue) -> Iterator[Violation]:
    for index, grant in enumerate(catalogue.grants):
        if grant.ordered_by and (grant.provider_agreement or grant.secretariat_consent):
            yield Violation(("grants", index, "ordered_by"), "replaces the two preconditions; remove it or them")
    for index, duty in enumerate(catalogue.duties):
        if (duty.state == "done") != (duty.done is not None):
            yield Violation(("duties", index, "done"), "a duty that is done, and only that, has its evidence here")


def _periods_are_possible(catalogue: Catalogue) -> Iterator[Violation]:
    periods: dict[str, Iterable[Grant | Agreement]] = {"grants": catalogue.grants, "agreements": catalogue.agreements}
    for kind, records in periods.items():
        for index, record in enumerate(records):
            if record.until is not None and record.until < record.since:
                yield Violation((kind, index, "until"), "ends before it begins")


def _life_cycles_are_possible(catalogue: Catalogue) -> Iterator[Violation]:
    names = {name for name, _, _ in catalogue.methods()}
    for index, service in enumerate(catalogue.services):
        for number, method in enumerate(service.methods):
            location = ("services", index, "methods", number)
            yield from _life_cycle_is_possible(method, location)
            if method.replaced_by is not None and method.replaced_by not in names - {service.full_name(method.name)}:
                yield Violation((*location, "replaced_by"), f"no other method is named {method.replaced_by}")


def _life_cycle_is_possible(method: Method, location: tuple[Hashable, ...]) -> Iterator[Violation]:
    order = ("ordered", "introduced", "deprecated", "sunset")
    steps = [(name, day) for name in order if (day := getattr(method, name))]
    for (earlier, before), (later, after) in pairwise(steps):
        if after < before:
            yield Violation((*location, later), f"is before {earlier}")
    if method.sunset and not method.deprecated:
        yield Violation((*location, "sunset"), "a method with a sunset needs a date in deprecated")
    if method.notice and not (method.introduced or date.min) <= method.notice <= (method.sunset or date.max):
        yield Violation((*location, "notice"), "is not between introduced and sunset")


def _nothing_overlaps(catalogue: Catalogue) -> Iterator[Violation]:
    yield from _overlaps(catalogue, "grants", catalogue.grants, lambda record: (record.service, record.method))
    yield from _overlaps(catalogue, "agreements", catalogue.agreements, lambda record: record.service)


def _overlaps(
    catalogue: Catalogue, kind: str, records: Sequence[Any], object_of: Callable[[Any], Hashable]
) -> Iterator[Violation]:
    consumers = [
        (index, record, {party.slug for party in catalogue.consumers(record.consumer)})
        for index, record in enumerate(records)
    ]
    for (_, first, first_consumers), (index, second, second_consumers) in combinations(consumers, 2):
        shared = first_consumers & second_consumers
        if object_of(first) == object_of(second) and shared and _periods_overlap(first, second):
            names = ", ".join(sorted(shared))
            yield Violation((kind, index), f"overlaps {first.id}: both apply to {names} on the same days")


def _periods_overlap(first: Grant | Agreement, second: Grant | Agreement) -> bool:
    return first.since <= (second.until or date.max) and second.since <= (first.until or date.max)


_RULES: tuple[Callable[[Catalogue], Iterator[Violation]], ...] = (
    _names_are_unique,
    _parties_exist,
    _classes_are_flat,
    _services_exist,
    _grounds_are_stated,
    _periods_are_possible,
    _life_cycles_are_possible,
    _nothing_overlaps,
)
