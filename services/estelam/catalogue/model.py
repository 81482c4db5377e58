"""The schema of the catalogue: what each kind of record holds, and in which file it stands."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from estelam.auth.grants import Quota, RequiredMetadata
from estelam.core import normalize
from estelam.core.settings import Fingerprint

FIRST_DAY, LAST_DAY = date(1921, 3, 21), date(2099, 12, 31)
"""From 1300 on, so that a slip of a digit is seen."""


def _day(value: Any) -> date:
    """A date of either calendar; YAML hands it over as it was typed."""
    try:
        found = value if isinstance(value, date) else normalize.parse_date(value)
    except (ValueError, AttributeError, TypeError):
        raise ValueError("is no day of the Gregorian or the Jalali calendar, written YYYY-MM-DD") from None
    if not FIRST_DAY <= found <= LAST_DAY:
        raise ValueError(f"lies before {FIRST_DAY} or after {LAST_DAY}")
    return found


Day = Annotated[date, BeforeValidator(_day)]
"""A day in Iran; a year before 1700 is Jalali."""
Slug = Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Clause = Annotated[str, Field(pattern=r"^R[1-9](\.[0-9]+)+$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Record(BaseModel):
    """One record of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, coerce_numbers_to_str=False)


class Party(Record):
    """An organisation that has a part in the exchange, or a class of them that others are members of."""

    slug: Slug
    fa: Text
    en: Text
    text_fa: Text | None = None
    """The name as the published text writes it, where that differs."""
    roles: list[Slug] = []
    legal_id: Annotated[str, Field(pattern="^[0-9]{11}$")] | None = None
    """What its certificates name; without one it can't ask anything here."""
    member_of: Slug | None = None
    """The class of parties whose grants hold for it too."""
    note: Text | None = None


class Registry(Record):
    """One of the base registries of R5.T."""

    n: int = Field(ge=1)
    slug: Slug
    fa: Text
    en: Text
    text_fa: Text | None = None
    custodian: Slug


class Method(Record):
    """One method of a service that is provided here, and where it stands in its life."""

    name: str = Field(pattern="^[A-Z][A-Za-z]*$")
    fa: Text
    en: Text
    clause: Clause
    introduced: Day
    notice: Day | None = None
    """When its callers were told of its end."""
    deprecated: Day | None = None
    """From when on nobody should begin to use it."""
    replaced_by: str | None = None
    """The full name, package.Service/Method, of what takes its place."""
    sunset: Day | None = None
    """From when on it may be gone."""


class Service(Record):
    """A service of the exchange: provided here where it has a wire name, listed alone where it has none."""

    slug: Slug
    fa: Text
    en: Text
    clause: Clause
    provider: Slug
    registry: Slug | None = None
    wire: Annotated[str, Field(pattern=r"^[a-z0-9_.]+\.[A-Z][A-Za-z]*$")] | None = None
    methods: list[Method] = []

    def method(self, name: str | None) -> Method | None:
        """The method of that name."""
        return next((method for method in self.methods if method.name == name), None)

    def full_name(self, method: str) -> str:
        """package.Service/Method, as it travels."""
        return f"{self.wire}/{method}"


class Approval(Record):
    """One precondition of a grant, met."""

    on: Day
    reference: Text


class Grant(Record):
    """One consumer's right to one method or, where a service is listed alone, to that service."""

    id: Annotated[str, Field(pattern="^G[0-9]{2,}$")]
    clause: Clause
    consumer: Slug
    service: Slug
    method: str | None = None
    provider_agreement: Approval | None = None
    secretariat_consent: Approval | None = None
    since: Day
    until: Day | None = None
    """The last day."""
    quota: Quota | None = None
    demands: list[RequiredMetadata] = []
    note: Text | None = None


class Agreement(Record):
    """A service level agreement between a provider, a consumer and the exchange (R4.3)."""

    id: Annotated[str, Field(pattern="^S[0-9]{2,}$")]
    service: Slug
    consumer: Slug
    since: Day
    until: Day | None = None
    """The last day."""
    rules: Slug
    """The set of quality rules that it promises."""
    reference: Text


class Denied(Record):
    """A barred certificate."""

    certificate: Fingerprint
    reason: Text
    party: Slug | None = None


Kind = Literal["parties", "registries", "services", "grants", "agreements", "denied"]


class Catalogue(Record):
    """The whole catalogue; each field is what one file holds."""

    parties: list[Party] = Field(min_length=1)
    registries: list[Registry]
    services: list[Service] = Field(min_length=1)
    grants: list[Grant] = Field(min_length=1)
    agreements: list[Agreement]
    denied: list[Denied]

    def party(self, slug: str) -> Party | None:
        """The party of that name."""
        return next((party for party in self.parties if party.slug == slug), None)

    def service(self, slug: str) -> Service | None:
        """The service of that name."""
        return next((service for service in self.services if service.slug == slug), None)

    def consumers(self, slug: str) -> list[Party]:
        """Whom a grant to *slug* holds for: that party and all its members."""
        return [party for party in self.parties if slug in {party.slug, party.member_of}]

    def methods(self) -> Iterator[tuple[str, Service, Method]]:
        """Every method that is provided here, by its full name."""
        for service in self.services:
            for method in service.methods:
                yield service.full_name(method.name), service, method


FILES: dict[str, str] = {
    "parties": "parties.yaml",
    "registries": "registries.yaml",
    "services": "services.yaml",
    "grants": "grants.yaml",
    "agreements": "agreements.yaml",
    "denied": "certificates.yaml",
}
"""Which file holds what; each has one key, by the name of what it holds."""
