"""Derive the access table from the catalogue; a grant that lacks an approval yields no access."""

from collections.abc import Iterator, Mapping
from datetime import date
from enum import StrEnum

from estelam.auth import grants
from estelam.auth.grants import AccessTable
from estelam.catalogue.model import Approval, Catalogue, Grant


def access_table(catalogue: Catalogue) -> AccessTable:
    """Return the access table that *catalogue* yields."""
    return AccessTable(
        grant=tuple(derived for grant in catalogue.grants for derived in effective_grants(catalogue, grant)),
        deny=tuple(catalogue.denied),
    )


def effective_grants(catalogue: Catalogue, grant: Grant) -> Iterator[grants.Grant]:
    """Yield the grant of each caller that *grant* applies to.

    Yields nothing for a service that is listed only, while the grant is staged, and while an approval that it needs is
    missing.
    """
    service, first_day = catalogue.service(grant.service), effective_from(catalogue, grant)
    method = service.method(grant.method) if service else None
    if service is None or method is None or grant.quota is None or first_day is None:
        return
    for party in catalogue.consumers(grant.consumer):
        if party.legal_id is not None:
            yield grants.Grant(
                caller=party.legal_id,
                method=service.full_name(method.name),
                clause=grant.clause,
                since=first_day,
                until=grant.until,
                quota=grant.quota,
                required_metadata=tuple(grant.required_metadata),
                deprecated=method.deprecated,
                sunset=method.sunset,
            )


def effective_from(catalogue: Catalogue, grant: Grant) -> date | None:
    """Return the day from which *grant* applies and its approvals are given; None if one is missing or it is staged."""
    if grant.staged:
        return None
    first_day = grant.since
    for approval in required_approvals(catalogue, grant).values():
        if approval is None:
            return None
        first_day = max(first_day, approval.on)
    return first_day


class ApprovalKind(StrEnum):
    """What a grant rests on."""

    ORDER = "order"
    """The resolution that itself orders the access."""
    PROVIDER = "provider"
    """The provider's agreement (R1.0)."""
    SECRETARIAT = "secretariat"
    """The secretariat's consent (R1.0)."""


def required_approvals(catalogue: Catalogue, grant: Grant) -> Mapping[ApprovalKind, Approval | None]:
    """Return the approvals that *grant* needs; None for one that is missing.

    The resolution that orders the access itself; else the two preconditions of R1.0. A party needs none to call its own
    service.
    """
    service = catalogue.service(grant.service)
    if service and service.provider == grant.consumer:
        return {}
    if grant.ordered_by:
        return {ApprovalKind.ORDER: grant.ordered_by}
    return {
        ApprovalKind.PROVIDER: grant.provider_agreement,
        ApprovalKind.SECRETARIAT: grant.secretariat_consent,
    }


class GrantStatus(StrEnum):
    """Status of a grant on a given day."""

    INCOMPLETE = "incomplete"
    """An approval is missing."""
    STAGED = "staged"
    """It is prepared, and not active yet."""
    PENDING = "pending"
    IN_FORCE = "in_force"
    ENDED = "ended"


def grant_status(catalogue: Catalogue, grant: Grant, day: date) -> GrantStatus:
    """Return the status of *grant* on *day*."""
    if grant.staged:
        return GrantStatus.STAGED
    first_day = effective_from(catalogue, grant)
    if first_day is None:
        return GrantStatus.INCOMPLETE
    if grant.until is not None and grant.until < day:
        return GrantStatus.ENDED
    return GrantStatus.IN_FORCE if first_day <= day else GrantStatus.PENDING
