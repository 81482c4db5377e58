"""Schema of the catalogue: the fields of each kind of record, and the file that holds it."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from estelam.auth.grants import Denial, Quota, RequiredMetadata
from estelam.core.date_fields import Day

Slug = Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Clause = Annotated[str, Field(pattern=r"^R[1-9](\.[0-9]+)+$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Record(BaseModel):
    """Base of all records: unknown keys are rejected, values are not converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, coerce_numbers_to_str=False)


class Party(Record):
    """An organisation of the exchange, or a class of organisations that others are members of."""

    slug: Slug
    fa: Text
    en: Text
    text_fa: Text | None = None
    """The name as the published resolution spells it, where that differs."""
    roles: list[Slug] = []
    legal_id: Annotated[str, Field(pattern="^[0-9]{11}$")] | None = None
    """Legal id in the party's certificates; a party without one can't make calls."""
    is_class: bool = False
    """Whether it is a class: it has members and no legal id, and its grants hold for each member."""
    member_of: Slug | None = None
    """The class of parties whose grants apply to this party too."""
    note: Text | None = None


class Registry(Record):
    """One of the base registries of the table in resolution 5 (R5.T)."""

    n: int = Field(ge=1, le=10_000)
    slug: Slug
    fa: Text
    en: Text
    text_fa: Text | None = None
    custodian: Slug
    custodian_text_fa: Text | None = None
    """The custodian's name as the published table spells it in this row, where that differs."""


class Method(Record):
    """One method of a service that this software provides, with the dates of its life cycle."""

    name: str = Field(pattern="^[A-Z][A-Za-z]*$")
    fa: Text
    en: Text
    clause: Clause
    ordered: Day | None = None
    """The day of the session that ordered the method; None for a method of ours that no clause orders."""
    introduced: Day | None = None
    """The first day in service, where it is known."""
    notice: Day | None = None
    """The day on which callers were notified of the method's end."""
    deprecated: Day | None = None
    """The day from which no new caller should use the method."""
    replaced_by: str | None = None
    """Full name of the replacement, package.Service/Method."""
    sunset: Day | None = None
    """The day from which the method may be removed."""

    def in_service(self, day: date) -> bool:
        """Whether the method is in service on *day*; without a date of introduction it has always been."""
        return (self.introduced is None or self.introduced <= day) and (self.sunset is None or day < self.sunset)


class Service(Record):
    """A service of the exchange: with a wire name if this software provides it, else listed for reference only."""

    slug: Slug
    fa: Text
    text_fa: Text | None = None
    en: Text
    clause: Clause
    provider: Slug
    registry: Slug | None = None
    wire: Annotated[str, Field(pattern=r"^[a-z0-9_.]+\.[A-Z][A-Za-z]*$")] | None = None
    methods: list[Method] = []

    @property
    def is_monitored(self) -> bool:
        """Whether it is provided here by a process of its own; that of the shared contract is served by the others."""
        return self.wire is not None and not self.wire.startswith("estelam.inquiry.")

    def method(self, name: str | None) -> Method | None:
        """Return the method of that short name, or None."""
        return next((method for method in self.methods if method.name == name), None)

    def full_name(self, method: str) -> str:
        """Return the full gRPC name, package.Service/Method."""
        return f"{self.wire}/{method}"


class Approval(Record):
    """The evidence that one precondition of a grant is met (R1.0)."""

    on: Day
    reference: Text


class Grant(Record):
    """One consumer's right to call one method or, for a service that is listed only, to use that service."""

    id: Annotated[str, Field(pattern="^G[0-9]{2,}$")]
    clause: Clause
    consumer: Slug
    service: Slug
    method: str | None = None
    ordered_by: Approval | None = None
    """The resolution that itself orders this access. It replaces both preconditions below, which R1.0 sets for access
    to services that exist already."""
    provider_agreement: Approval | None = None
    secretariat_consent: Approval | None = None
    since: Day
    until: Day | None = None
    """The last day, included."""
    staged: bool = False
    """Whether the grant is prepared only: it gives no access until the key is removed."""
    quota: Quota | None = None
    required_metadata: list[RequiredMetadata] = []
    note: Text | None = None


class Signature(Record):
    """That a party has signed an agreement. The reference is that of the letter; it names no person."""

    party: Slug
    on: Day
    reference: Text


class Agreement(Record):
    """A service level agreement between a provider, a consumer and the exchange (R4.3)."""

    id: Annotated[str, Field(pattern="^S[0-9]{2,}$")]
    service: Slug
    consumer: Slug
    since: Day
    until: Day | None = None
    """The last day, included."""
    rules: Slug
    """Name of the set of quality rules that the agreement promises."""
    reference: Text
    signatures: list[Signature] = []
    """Who has signed so far: provider, consumer and exchange centre."""


DutyState = Literal["unknown", "open", "done"]
"""State of a duty, as far as the catalogue's owner knows."""


class Duty(Record):
    """Something that a resolution orders, with its owners and its term."""

    id: Annotated[str, Field(pattern="^D[0-9]{2,}$")]
    clause: Clause
    owners: Annotated[list[Slug], Field(min_length=1)]
    fa: Text
    """In the resolution's own words, where they are short enough."""
    en: Text
    registry: Slug | None = None
    """The base registry that a delivery is for (R5.1)."""
    term_fa: Text | None = None
    """The term in the resolution's own words; None: it sets none."""
    term_en: Text | None = None
    due: Day | None = None
    """The last day of the term, counted from the session; a term that the resolution doesn't date has none."""
    state: DutyState = "unknown"
    done: Approval | None = None
    """The evidence that the duty is done."""


class Denied(Record, Denial):
    """A denied certificate."""

    party: Slug | None = None


Kind = Literal["parties", "registries", "services", "grants", "agreements", "duties", "denied"]


class Catalogue(Record):
    """The whole catalogue; each field holds the records of one file."""

    parties: list[Party] = Field(min_length=1)
    registries: list[Registry]
    services: list[Service] = Field(min_length=1)
    grants: list[Grant] = Field(min_length=1)
    agreements: list[Agreement]
    duties: list[Duty]
    denied: list[Denied]

    def party(self, slug: str) -> Party | None:
        """Return the party with that slug, or None."""
        return next((party for party in self.parties if party.slug == slug), None)

    def service(self, slug: str) -> Service | None:
        """Return the service with that slug, or None."""
        return next((service for service in self.services if service.slug == slug), None)

    def consumers(self, slug: str) -> list[Party]:
        """Return the parties that a grant to *slug* applies to: that party and its members."""
        return [party for party in self.parties if slug in {party.slug, party.member_of}]

    def methods(self) -> Iterator[tuple[str, Service, Method]]:
        """Yield every method that this software provides, with its full name and service."""
        for service in self.services:
            for method in service.methods:
                yield service.full_name(method.name), service, method


FILES: dict[str, str] = {
    "parties": "parties.yaml",
    "registries": "registries.yaml",
    "services": "services.yaml",
    "grants": "grants.yaml",
    "agreements": "agreements.yaml",
    "duties": "duties.yaml",
    "denied": "certificates.yaml",
}
"""File name of each kind of record; the file has that kind as its only key."""
