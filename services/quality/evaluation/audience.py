"""Audiences of a report, and which traffic, services and agreements each may see."""

from dataclasses import dataclass
from typing import Self

from estelam.catalogue.model import Agreement, Catalogue, Party, Service
from estelam.core.exceptions import UsageError
from estelam.core.names import unknown_name
from quality.evaluation.period_data import Key, PeriodData

WORKING_GROUP = "working-group"
WORKING_GROUP_PARTY = "interop-wg"


class AudienceError(UsageError):
    """There is no such audience."""


@dataclass(frozen=True, slots=True)
class Audience:
    """A provider, a consumer or the working group."""

    kind: str
    party: Party
    legal_ids: frozenset[str]
    """Legal ids of a consumer and its members; empty for other audiences."""

    @classmethod
    def parse(cls, text: str, catalogue: Catalogue) -> Self:
        """Parse working-group, provider:SLUG or consumer:SLUG.

        Raises:
            AudienceError: *text* is malformed, or names a party without inquiries.
            UnknownNameError: the catalogue has no such party.
        """
        kind, _, slug = text.partition(":")
        party = catalogue.party(WORKING_GROUP_PARTY if text == WORKING_GROUP else slug)
        if kind not in {WORKING_GROUP, "provider", "consumer"} or (kind == WORKING_GROUP) != (text == WORKING_GROUP):
            raise AudienceError("a report is for working-group, provider:NAME or consumer:NAME")
        if party is None:
            raise unknown_name("party", slug or WORKING_GROUP_PARTY, [party.slug for party in catalogue.parties])
        if kind == "provider" and not any(service.provider == slug for service in catalogue.services):
            raise AudienceError("that party provides no service of the catalogue")
        members = catalogue.consumers(party.slug) if kind == "consumer" else []
        legal_ids = frozenset(member.legal_id for member in members if member.legal_id)
        if kind == "consumer" and not legal_ids:
            raise AudienceError("that party has no legal id, so it has no inquiries")
        return cls(kind, party, legal_ids)

    @property
    def name(self) -> str:
        """The name used in file names."""
        return WORKING_GROUP if self.kind == WORKING_GROUP else f"{self.kind}-{self.party.slug}"

    def sees_traffic(self, key: Key, data: PeriodData) -> bool:
        """Whether the audience may see the traffic of one consumer with one method."""
        method, consumer = key
        if self.kind == "consumer":
            return consumer in self.legal_ids
        return self._provides(data.methods[method][0])

    def sees_service(self, service: Service, catalogue: Catalogue) -> bool:
        """Whether the audience may see *service*."""
        if self.kind != "consumer":
            return self._provides(service)
        return any(
            grant.service == service.slug and self.party in catalogue.consumers(grant.consumer)
            for grant in catalogue.grants
        )

    def sees_method(self, service: Service, method: str, catalogue: Catalogue) -> bool:
        """Whether the audience may see *method*. A consumer sees the methods that it was ever granted."""
        if self.kind != "consumer":
            return self._provides(service)
        return any(
            grant.service == service.slug
            and grant.method in {None, method}
            and self.party in catalogue.consumers(grant.consumer)
            for grant in catalogue.grants
        )

    def sees_agreement(self, agreement: Agreement, catalogue: Catalogue) -> bool:
        """Whether the audience is a side of *agreement* or the working group."""
        service = catalogue.service(agreement.service)
        if self.kind == "consumer":
            return agreement.consumer == self.party.slug
        return service is not None and self._provides(service)

    def _provides(self, service: Service) -> bool:
        return self.kind == WORKING_GROUP or service.provider == self.party.slug
