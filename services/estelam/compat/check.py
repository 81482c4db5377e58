"""Whether a release keeps the rules for change: what is alive stays as published, and no end comes as a surprise."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from estelam.catalogue.model import Catalogue, Method
from estelam.compat.baseline import Baseline
from estelam.compat.surface import missing_lines

MIN_NOTICE = timedelta(days=180)
"""Least time between the notice of a method's end and its sunset."""
MIN_OVERLAP = timedelta(days=90)
"""Least time for which a method and its replacement are both in service."""

_RPC = re.compile(r"^rpc ((\S+)\.[^./]+/[^(]+)\(")
_NAMED = re.compile(r"^(?:field|rule|enum) (\S+)")
_DEMAND = re.compile(r"^field (\S+)\.\S+ = .* \[buf\.validate\.field\]")


@dataclass(frozen=True, slots=True)
class CompatibilityViolation:
    """A rule that a release would break, and of what."""

    rule: str
    """By the name that docs/change-policy.md gives it."""
    element: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """What is about to go out: the contract's facts, the catalogue, and the day."""

    surface: Sequence[str]
    catalogue: Catalogue
    day: date

    @property
    def methods(self) -> Mapping[str, Method]:
        """Every method of the catalogue by its full name."""
        return {name: method for name, _, method in self.catalogue.methods()}


def compatibility_violations(published: Baseline, release: Release) -> list[CompatibilityViolation]:
    """Every rule that *release* would break; none where it may go out."""
    return [
        *_broken(published, release),
        *_demanded(published, release),
        *_unknown(published, release),
        *(breach for name, method in release.methods.items() for breach in _ending(name, method, published, release)),
        *_hastened(published, release),
    ]


def _broken(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """What was published and is no longer so, of every version that is still alive."""
    methods, over = _methods(published.surface), _over(release)
    dead = {package for package in methods.values() if {name for name, of in methods.items() if of == package} <= over}
    for fact in missing_lines(published.surface, release.surface):
        found = _RPC.match(fact)
        if (found and found[1] in over) or _package(fact, dead):
            continue
        yield CompatibilityViolation("alive-unchanged", _about(fact), f"was published and is no longer so: {fact}")


def _demanded(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """What callers who know only what was published would be refused for."""
    known = {_about(fact) for fact in published.surface}
    messages = {name.rpartition(".")[0] for name in known}
    for fact in release.surface:
        found = _DEMAND.match(fact)
        if found and found[1] in messages and _about(fact) not in known:
            yield CompatibilityViolation(
                "nothing-new-demanded", _about(fact), "is new in a published message and has a rule"
            )


def _unknown(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Methods of which nobody could look up when they end."""
    alive = {*_methods(published.surface), *_methods(release.surface)}
    for name in sorted(alive - set(release.methods)):
        yield CompatibilityViolation(
            "in-the-catalogue", name, "stands in a contract but not in the catalogue, which tells of its life"
        )


def _ending(name: str, method: Method, published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    if method.deprecated and (method.notice is None or method.notice > method.deprecated):
        yield CompatibilityViolation("notice", name, "is deprecated before its callers were told")
    if method.sunset is None:
        return
    # A date can be written at will: what no release has told so far counts from this one at the earliest.
    earliest = date.min if name in published.sunsets else release.day
    if method.notice is None or method.sunset - max(method.notice, earliest) < MIN_NOTICE:
        yield CompatibilityViolation(
            "notice", name, f"ends less than {MIN_NOTICE.days} days after its callers were told"
        )
    if method.replaced_by is not None:
        yield from _replaced(name, method.sunset, release.methods[method.replaced_by])


def _replaced(name: str, sunset: date, successor: Method) -> Iterator[CompatibilityViolation]:
    if sunset - successor.introduced < MIN_OVERLAP:
        yield CompatibilityViolation(
            "overlap", name, f"ends less than {MIN_OVERLAP.days} days after what replaces it was introduced"
        )
    if successor.sunset is not None and successor.sunset - sunset < MIN_OVERLAP:
        yield CompatibilityViolation("overlap", name, "is replaced by what itself ends too soon after it")


def _hastened(published: Baseline, release: Release) -> Iterator[CompatibilityViolation]:
    """Ends that callers were told of, and that come sooner now."""
    for name, told in published.sunsets.items():
        method = release.methods.get(name)
        if method and method.sunset and method.sunset < told:
            yield CompatibilityViolation(
                "never-sooner", name, f"was to end on {told}, and would end on {method.sunset}"
            )


def _over(release: Release) -> set[str]:
    return {name for name, method in release.methods.items() if method.sunset and method.sunset <= release.day}


def _methods(facts: Sequence[str] | frozenset[str]) -> dict[str, str]:
    """The methods among *facts*, each with its package."""
    return {found[1]: found[2] for fact in facts if (found := _RPC.match(fact))}


def _package(fact: str, packages: set[str]) -> bool:
    found = _NAMED.match(fact)
    return found is not None and any(found[1].startswith(f"{package}.") for package in packages)


def _about(fact: str) -> str:
    """What *fact* is of: a method, a field, an enum or a rule."""
    found = _RPC.match(fact) or _NAMED.match(fact)
    return found[1] if found else fact
