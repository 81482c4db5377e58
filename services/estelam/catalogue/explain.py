"""Explain whether a call would be authorized on a given day: by which grant, and if not, why."""

from dataclasses import dataclass
from datetime import date

from estelam.auth import grants
from estelam.catalogue.effective_grants import ApprovalKind, effective_grants, required_approvals
from estelam.catalogue.model import Catalogue, Grant, Method, Party, Service
from estelam.core import dates, normalize
from estelam.core.names import unknown_name

_APPROVALS = {
    ApprovalKind.ORDER: "the resolution that orders it",
    ApprovalKind.PROVIDER: "the provider's agreement",
    ApprovalKind.SECRETARIAT: "the secretariat's consent",
}


@dataclass(frozen=True, slots=True)
class Target:
    """The consumer, service and method to explain; a service that is listed only has no method."""

    party: Party
    service: Service
    method: Method | None

    @property
    def full_name(self) -> str | None:
        """The method's full gRPC name; None for a service that is listed only."""
        return self.service.full_name(self.method.name) if self.method else None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result: authorized by *grant*, or denied for each of *denial_reasons*."""

    target: Target
    grant: Grant | None
    denial_reasons: tuple[str, ...]
    effective_grant: grants.Grant | None = None
    """The grant that the service checks; None for a service that is listed only."""

    @property
    def admitted(self) -> bool:
        """Whether the call would be authorized."""
        return not self.denial_reasons


def explain(catalogue: Catalogue, *, consumer: str, method: str, day: date) -> Explanation:
    """Explain whether *consumer* may call *method* on *day*.

    *consumer* is a party's slug or legal id. *method* is a method's short or full name, or the slug of a service that
    is listed only.

    Raises:
        UnknownNameError: the catalogue has no such consumer or method.
    """
    target = Target(_party(catalogue, consumer), *_method(catalogue, method))
    if target.party.is_class:
        members = [party.slug for party in catalogue.parties if party.member_of == target.party.slug]
        advice = f"name one of its members: {', '.join(members)}" if members else "it has no members"
        return Explanation(target, None, (f"{target.party.slug} is a class; {advice}",))
    found = [grant for grant in catalogue.grants if _applies(grant, target.party, target)]
    if not found:
        name = target.method.name if target.method else target.service.slug
        return Explanation(target, None, (f"no grant names {target.party.slug} for {name}",))
    denial_reasons: list[str] = []
    for grant in found:
        if not (reasons := _denial_reasons(catalogue, grant, day)):
            return _granted(catalogue, target, grant)
        denial_reasons += [f"{grant.id} ({grant.clause}) {reason}" for reason in reasons]
    return Explanation(target, found[-1], tuple(denial_reasons))


def _granted(catalogue: Catalogue, target: Target, grant: Grant) -> Explanation:
    if target.method is None:
        return Explanation(target, grant, ())
    derived = [found for found in effective_grants(catalogue, grant) if found.caller == target.party.legal_id]
    if not derived:
        return Explanation(
            target, grant, ("the consumer has no legal id in the catalogue, so no certificate matches it",)
        )
    return Explanation(target, grant, (), derived[0])


def _denial_reasons(catalogue: Catalogue, grant: Grant, day: date) -> list[str]:
    """Return every reason why *grant* does not apply on *day*."""
    reasons = ["is staged, not active"] if grant.staged else []
    for kind, approval in required_approvals(catalogue, grant).items():
        name = _APPROVALS[kind]
        if approval is None:
            reasons.append(f"lacks {name}")
        elif approval.on > day:
            reasons.append(f"has {name} only from {dates.format_both(approval.on)}")
    if grant.since > day:
        reasons.append(f"begins on {dates.format_both(grant.since)}")
    if grant.until is not None and grant.until < day:
        reasons.append(f"ended on {dates.format_both(grant.until)}")
    return reasons


def _applies(grant: Grant, party: Party, target: Target) -> bool:
    wanted = target.service.slug, target.method and target.method.name
    return grant.consumer in {party.slug, party.member_of} and (grant.service, grant.method) == wanted


def _party(catalogue: Catalogue, name: str) -> Party:
    legal_id = normalize.normalize_digits(name)
    for party in catalogue.parties:
        if party.slug == name or (party.legal_id and party.legal_id == legal_id):
            return party
    raise unknown_name("party", name, [party.slug for party in catalogue.parties])


def _method(catalogue: Catalogue, name: str) -> tuple[Service, Method | None]:
    for full_name, service, method in catalogue.methods():
        if name in {full_name, method.name}:
            return service, method
    listed = [service for service in catalogue.services if not service.methods]
    for service in listed:
        if service.slug == name:
            return service, None
    known = [method.name for _, _, method in catalogue.methods()] + [service.slug for service in listed]
    raise unknown_name("method or listed service", name, known)
