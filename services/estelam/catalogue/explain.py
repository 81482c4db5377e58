"""Whether a call would be admitted on a day, by which grant, and if not, exactly why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from estelam.auth import grants
from estelam.catalogue.effective_grants import effective_grants
from estelam.catalogue.model import Catalogue, Grant, Method, Party, Service
from estelam.core import normalize

LONGEST_NAME = 64
"""No name is longer; of what can't be one, no more is repeated."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a question is about, as far as the catalogue knows it."""

    party: Party | None
    service: Service | None
    method: Method | None

    @property
    def full_name(self) -> str | None:
        """The method as it travels; None where the service is listed alone."""
        return self.service.full_name(self.method.name) if self.service and self.method else None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer: admitted by *grant*, or not, for each reason of *why*."""

    target: Target
    grant: Grant | None
    denial_reasons: tuple[str, ...]
    effective_grant: grants.Grant | None = None
    """What the services hold the call against, where one of them answers it."""

    @property
    def admitted(self) -> bool:
        """Whether the call would be admitted."""
        return not self.denial_reasons


def explain(catalogue: Catalogue, *, consumer: str, method: str, day: date) -> Explanation:
    """Whether *consumer* (a party's name or its legal id) would be admitted to *method* on *day*.

    *method* is a method's short or full name, or the name of a service that is listed alone.
    """
    asked = Target(_party(catalogue, consumer), *_method(catalogue, method))
    unknown = _unknown(catalogue, asked, consumer=consumer, method=method)
    if unknown or asked.party is None or asked.service is None:
        return Explanation(asked, None, tuple(unknown))
    if members := [party.slug for party in catalogue.parties if party.member_of == asked.party.slug]:
        names = ", ".join(members)
        return Explanation(asked, None, (f"{asked.party.slug} is a class, and only a member can ask: {names}",))
    found = [grant for grant in catalogue.grants if _holds_for(grant, asked.party, asked)]
    if not found:
        what = asked.method.name if asked.method else asked.service.slug
        return Explanation(
            asked, None, (f"no grant names {asked.party.slug} for {what}: what is not granted is refused",)
        )
    why: list[str] = []
    for grant in found:
        if not (hindrances := list(_denial_reasons(grant, day))):
            return _granted(catalogue, asked, grant)
        why += [f"{grant.id} ({grant.clause}) {hindrance}" for hindrance in hindrances]
    return Explanation(asked, found[-1], tuple(why))


def _granted(catalogue: Catalogue, asked: Target, grant: Grant) -> Explanation:
    if asked.method is None:
        return Explanation(asked, grant, ())
    derived = [
        found for found in effective_grants(catalogue, grant) if asked.party and found.caller == asked.party.legal_id
    ]
    if not derived:
        return Explanation(asked, grant, ("the consumer has no legal id on record, so no certificate can be its own",))
    return Explanation(asked, grant, (), derived[0])


def _denial_reasons(grant: Grant, day: date) -> list[str]:
    """Why *grant* does not admit on *day*: each word for itself."""
    found = []
    for name, assent in (
        ("the provider's agreement", grant.provider_agreement),
        ("the secretariat's consent", grant.secretariat_consent),
    ):
        if assent is None:
            found.append(f"lacks {name}")
        elif assent.on > day:
            found.append(f"has {name} from {_both(assent.on)} on")
    if grant.since > day:
        found.append(f"begins on {_both(grant.since)}")
    if grant.until is not None and grant.until < day:
        found.append(f"ended with {_both(grant.until)}")
    return found


def _holds_for(grant: Grant, party: Party, asked: Target) -> bool:
    about = asked.service and asked.service.slug, asked.method and asked.method.name
    return grant.consumer in {party.slug, party.member_of} and (grant.service, grant.method) == about


def _party(catalogue: Catalogue, name: str) -> Party | None:
    number = normalize.normalize_digits(name)
    return catalogue.party(name) or next((p for p in catalogue.parties if p.legal_id == number), None)


def _method(catalogue: Catalogue, name: str) -> tuple[Service | None, Method | None]:
    for full_name, service, method in catalogue.methods():
        if name in {full_name, method.name}:
            return service, method
    listed = catalogue.service(name)
    return (listed, None) if listed and not listed.methods else (None, None)


def _unknown(catalogue: Catalogue, asked: Target, *, consumer: str, method: str) -> list[str]:
    found = []
    if asked.party is None:
        parties = [party.slug for party in catalogue.parties]
        found.append(f"no party is called {_or_perhaps(consumer, parties)}")
    if asked.service is None:
        methods = [known.name for _, _, known in catalogue.methods()]
        listed = [service.slug for service in catalogue.services if not service.methods]
        found.append(f"no method or listed service is called {_or_perhaps(method, methods + listed)}")
    return found


def _or_perhaps(name: str, known: Sequence[str]) -> str:
    shown = name[:LONGEST_NAME]
    near = get_close_matches(shown, known, n=1)
    return f"{shown}; perhaps {near[0]}" if near else shown


def _both(day: date) -> str:
    return f"{day} ({normalize.format_jalali(day)})"
