"""What the catalogue means for access: no grant is written twice, and one that lacks a precondition admits nobody."""

from collections.abc import Iterator
from datetime import date
from enum import StrEnum

from estelam.auth import grants
from estelam.auth.grants import AccessTable, Denial
from estelam.catalogue.model import Catalogue, Grant


def access_table(catalogue: Catalogue) -> AccessTable:
    """Who may ask what by *catalogue*."""
    return AccessTable(
        grant=tuple(derived for grant in catalogue.grants for derived in effective_grants(catalogue, grant)),
        deny=tuple(Denial(certificate=barred.certificate, reason=barred.reason) for barred in catalogue.denied),
    )


def effective_grants(catalogue: Catalogue, grant: Grant) -> Iterator[grants.Grant]:
    """What *grant* yields for each caller that it holds for: nothing where it is of no method here, or lacks assent."""
    service, begins = catalogue.service(grant.service), effective_from(grant)
    method = service.method(grant.method) if service else None
    if service is None or method is None or grant.quota is None or begins is None:
        return
    for party in catalogue.consumers(grant.consumer):
        if party.legal_id is not None:
            yield grants.Grant(
                caller=party.legal_id,
                method=service.full_name(method.name),
                clause=grant.clause,
                since=begins,
                until=grant.until,
                quota=grant.quota,
                demands=tuple(grant.demands),
                deprecated=method.deprecated,
                sunset=method.sunset,
            )


def effective_from(grant: Grant) -> date | None:
    """The first day on which *grant* admits: its own, and both its preconditions met; None while one is not."""
    if grant.provider_agreement is None or grant.secretariat_consent is None:
        return None
    return max(grant.since, grant.provider_agreement.on, grant.secretariat_consent.on)


class GrantStatus(StrEnum):
    """Where a grant stands on a day."""

    INCOMPLETE = "incomplete"
    """A precondition is missing."""
    PENDING = "pending"
    IN_FORCE = "in_force"
    ENDED = "ended"


def grant_status(grant: Grant, day: date) -> GrantStatus:
    """Whether *grant* admits on *day* and, if not, why not."""
    begins = effective_from(grant)
    if begins is None:
        return GrantStatus.INCOMPLETE
    if grant.until is not None and grant.until < day:
        return GrantStatus.ENDED
    return GrantStatus.IN_FORCE if begins <= day else GrantStatus.PENDING
