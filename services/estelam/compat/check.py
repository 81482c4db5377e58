"""Check a release against the rules for change: live methods stay as published, and sunsets are announced in time."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from estelam.catalogue.model import Catalogue, Method
from estelam.compat.baseline import Baseline
from estelam.compat.surface import missing_lines

MIN_NOTICE = timedelta(days=180)
"""Minimum time from the notice to callers to a method's sunset."""
MIN_OVERLAP = timedelta(days=90)
"""Minimum time for which a method and its replacement are both in service."""

_RPC = re.compile(r"^rpc ((\S+)\.[^./]+/[^(]+)\(")
_NAMED = re.compile(r"^(?:field|rule|enum) (\S+)")
_VALIDATED_FIELD = re.compile(r"^field (\S+)\.\S+ = .* \[buf\.validate\.field\]")


@dataclass(frozen=True, slots=True)
class CompatibilityViolation:
    """A rule that a release breaks, and the element that breaks it."""

    rule: str
    """The rule's name in docs/change-policy.md."""
    element: str
    """A method, field, enum or validation rule, by its full name."""
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """A release to be checked: the surface of the contracts, the catalogue and the date."""

    surface: Sequence[str]
    catalogue: Catalogue
    day: date

    @property
    def methods(self) -> Mapping[str, Method]:
        """Every method of the catalogue, by full name."""
        return {name: method for name, _, method in self.catalogue.methods()}


def compatibility_violations(published: Baseline, release: Release) -> list[CompatibilityViolation]:
    """Return every rule that *release* breaks; an empty list means that it may be published."""
    return [
        *_changed(published, release),
        *_new_requirements(published, release),
        *_missing_in_catalogue(published, release),
        *(
            found
            for name, method in release.methods.items()
            for found in _sunset_violations(name, method, published, release)
        ),
        *_moved_earlier(published, release),
    ]


def _changed(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Yield what was removed or changed, of every method and package that has not reached its sunset."""
    methods, ended = _methods(published.surface), _ended(release)
    ended_packages = {
        package
        for package in methods.values()
        if {name for name, package_of in methods.items() if package_of == package} <= ended
    }
    for line in missing_lines(published.surface, release.surface):
        found = _RPC.match(line)
        if (found and found[1] in ended) or _is_in(line, ended_packages):
            continue
        yield CompatibilityViolation("alive-unchanged", _element(line), f"was removed or changed: {line}")


def _new_requirements(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Yield new fields with a validation rule in published messages: callers that do not send them would be refused."""
    known = {_element(line) for line in published.surface}
    messages = {name.rpartition(".")[0] for name in known}
    for line in release.surface:
        found = _VALIDATED_FIELD.match(line)
        if found and found[1] in messages and _element(line) not in known:
            yield CompatibilityViolation(
                "nothing-new-demanded", _element(line), "is a new field with a rule in a published message"
            )


def _missing_in_catalogue(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Yield methods without a record in the catalogue, so without a life cycle."""
    names = {*_methods(published.surface), *_methods(release.surface)}
    for name in sorted(names - set(release.methods)):
        yield CompatibilityViolation(
            "in-the-catalogue", name, "is in a contract but not in the catalogue, which defines its life cycle"
        )


def _sunset_violations(
    name: str, method: Method, published: Baseline, release: Release
) -> Iterator[CompatibilityViolation]:
    if method.deprecated and (method.notice is None or method.notice > method.deprecated):
        yield CompatibilityViolation("notice", name, "is deprecated before the notice to its callers")
    if method.sunset is None:
        return
    # The notice date is only text in the catalogue, so a sunset counts as announced from the first release that has it.
    earliest = date.min if name in published.sunsets else release.day
    if method.notice is None or method.sunset - max(method.notice, earliest) < MIN_NOTICE:
        yield CompatibilityViolation(
            "notice", name, f"its sunset is less than {MIN_NOTICE.days} days after the notice to its callers"
        )
    if method.replaced_by is not None:
        yield from _overlap_violations(name, method.sunset, release.methods[method.replaced_by])


def _overlap_violations(name: str, sunset: date, successor: Method) -> Iterator[CompatibilityViolation]:
    if successor.introduced is None or sunset - successor.introduced < MIN_OVERLAP:
        yield CompatibilityViolation(
            "overlap", name, f"its sunset is less than {MIN_OVERLAP.days} days after its replacement was introduced"
        )
    if successor.sunset is not None and successor.sunset - sunset < MIN_OVERLAP:
        yield CompatibilityViolation(
            "overlap", name, f"the sunset of its replacement is less than {MIN_OVERLAP.days} days after its own"
        )


def _moved_earlier(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Yield announced sunsets that were moved to an earlier date."""
    for name, announced in published.sunsets.items():
        method = release.methods.get(name)
        if method and method.sunset and method.sunset < announced:
            yield CompatibilityViolation("never-sooner", name, f"its sunset moved from {announced} to {method.sunset}")


def _ended(release: Release) -> set[str]:
    return {name for name, method in release.methods.items() if method.sunset and method.sunset <= release.day}


def _methods(surface: Iterable[str]) -> dict[str, str]:
    """Return the full names of the methods in *surface*, each with its package."""
    return {found[1]: found[2] for line in surface if (found := _RPC.match(line))}


def _is_in(line: str, packages: set[str]) -> bool:
    found = _NAMED.match(line)
    return found is not None and any(found[1].startswith(f"{package}.") for package in packages)


def _element(line: str) -> str:
    """Return the name of the method, field, enum or rule that *line* describes."""
    found = _RPC.match(line) or _NAMED.match(line)
    return found[1] if found else line
