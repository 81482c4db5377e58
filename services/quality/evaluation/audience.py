"""For whom a report is: what of the month's traffic, services and agreements they may see."""

from dataclasses import dataclass
from typing import Self

from estelam.catalogue.model import Agreement, Catalogue, Party, Service
from estelam.core.exceptions import UserFacingError
from quality.evaluation.period_data import Key, PeriodData

WORKING_GROUP = "working-group"
WORKING_GROUP_PARTY = "interop-wg"


class AudienceError(UserFacingError):
    """There is no such reader; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Audience:
    """A provider, a consumer or the working group."""

    kind: str
    party: Party
    legal_ids: frozenset[str]
    """Of a consumer: those of the party and its members."""

    @classmethod
    def parse(cls, text: str, catalogue: Catalogue) -> Self:
        """The reader written working-group, provider:SLUG or consumer:SLUG.

        Raises:
            AudienceError: *text* names none of the catalogue.
        """
        kind, _, slug = text.partition(":")
        party = catalogue.party(WORKING_GROUP_PARTY if text == WORKING_GROUP else slug)
        if kind not in {WORKING_GROUP, "provider", "consumer"} or (kind == WORKING_GROUP) != (text == WORKING_GROUP):
            raise AudienceError("a report is for working-group, provider:NAME or consumer:NAME")
        if party is None:
            raise AudienceError(f"the catalogue has no such {'party' if kind == WORKING_GROUP else kind}")
        if kind == "provider" and not any(service.wire for service in catalogue.services if service.provider == slug):
            raise AudienceError("that party provides no service that is watched here")
        members = catalogue.consumers(party.slug) if kind == "consumer" else []
        legal_ids = frozenset(member.legal_id for member in members if member.legal_id)
        if kind == "consumer" and not legal_ids:
            raise AudienceError("that party has no legal id, so it can't have asked anything")
        return cls(kind, party, legal_ids)

    @property
    def name(self) -> str:
        """As it is written in a file's name."""
        return WORKING_GROUP if self.kind == WORKING_GROUP else f"{self.kind}-{self.party.slug}"

    def sees_traffic(self, key: Key, data: PeriodData) -> bool:
        """Whether they may see what one consumer asked one method."""
        method, consumer = key
        if self.kind == "consumer":
            return consumer in self.legal_ids
        return self._provides(data.methods[method][0])

    def sees_service(self, service: Service, catalogue: Catalogue) -> bool:
        """Whether a service is any concern of theirs."""
        if self.kind != "consumer":
            return self._provides(service)
        return any(
            grant.service == service.slug and self.party in catalogue.consumers(grant.consumer)
            for grant in catalogue.grants
        )

    def sees_method(self, service: Service, method: str, catalogue: Catalogue) -> bool:
        """Whether a method is any concern of theirs: a consumer's are those that it was ever granted."""
        if self.kind != "consumer":
            return self._provides(service)
        return any(
            grant.service == service.slug
            and grant.method in {None, method}
            and self.party in catalogue.consumers(grant.consumer)
            for grant in catalogue.grants
        )

    def sees_agreement(self, agreement: Agreement, catalogue: Catalogue) -> bool:
        """Whether they are a side of an agreement, or watch over all."""
        service = catalogue.service(agreement.service)
        if self.kind == "consumer":
            return agreement.consumer == self.party.slug
        return service is not None and self._provides(service)

    def _provides(self, service: Service) -> bool:
        return self.kind == WORKING_GROUP or service.provider == self.party.slug
