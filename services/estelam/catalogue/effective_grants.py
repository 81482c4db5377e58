"""Derive the access table from the catalogue; a grant that lacks a precondition yields no access."""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum

from estelam.auth import grants
from estelam.auth.grants import AccessTable, Denial
from estelam.catalogue.model import Catalogue, Grant


def access_table(catalogue: Catalogue) -> AccessTable:
    """Return the access table that *catalogue* yields."""
    return AccessTable(
        grant=tuple(derived for grant in catalogue.grants for derived in effective_grants(catalogue, grant)),
        deny=tuple(Denial(certificate=denied.certificate, reason=denied.reason) for denied in catalogue.denied),
    )


def effective_grants(catalogue: Catalogue, grant: Grant) -> Iterator[grants.Grant]:
    """Yield the grant of each caller that *grant* applies to.

    Yields nothing for a service that is listed only, and while a precondition of the grant is missing.
    """
    service, first_day = catalogue.service(grant.service), effective_from(grant)
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


def effective_from(grant: Grant) -> date | None:
    """Return the day from which *grant* applies and both preconditions (R1.0) are met; None while one is missing."""
    if grant.provider_agreement is None or grant.secretariat_consent is None:
        return None
    return max(grant.since, grant.provider_agreement.on, grant.secretariat_consent.on)


class GrantStatus(StrEnum):
    """Status of a grant on a given day."""

    INCOMPLETE = "incomplete"
    """A precondition is missing."""
    PENDING = "pending"
    IN_FORCE = "in_force"
    ENDED = "ended"


def grant_status(grant: Grant, day: date) -> GrantStatus:
    """Return the status of *grant* on *day*."""
    first_day = effective_from(grant)
    if first_day is None:
        return GrantStatus.INCOMPLETE
    if grant.until is not None and grant.until < day:
        return GrantStatus.ENDED
    return GrantStatus.IN_FORCE if first_day <= day else GrantStatus.PENDING
