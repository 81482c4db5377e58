"""The access table as data: one grant for each exact caller and exact method, and a deny list."""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from estelam.auth.certificate import issued_name
from estelam.core.date_fields import Day
from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_model
from estelam.core.pem import name_text, parse_name
from estelam.core.settings import Fingerprint

RequiredMetadata = Literal["x-inquiry-id", "x-case-reference", "x-operator"]


class AccessConfigError(UserFacingError):
    """The access table is invalid; the text is for the operator."""


MAX_SHOWN = 999_999_999
"""Replies state the tokens left, and the seconds until the bucket is full, in nine digits."""


class Quota(BaseModel):
    """A token bucket: *burst* tokens at most, refilled at *rate* per second; an answer NO costs *miss_cost* tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(ge=0.000_001, le=1e9)
    burst: int = Field(ge=1, le=MAX_SHOWN)
    miss_cost: int = Field(ge=1, le=MAX_SHOWN, default=1)

    @model_validator(mode="after")
    def _refills(self) -> Self:
        if (self.burst + self.miss_cost) / self.rate > MAX_SHOWN:
            raise ValueError(f"rate: refills the bucket in more than {MAX_SHOWN:,} seconds; raise it, or lower burst")
        return self

    def divided(self, hosts: int) -> "Quota":
        """Return the part of each of *hosts* that serve; its burst is rounded down, and at least 1."""
        if hosts == 1:
            return self
        return self.model_copy(update={"rate": self.rate / hosts, "burst": max(1, self.burst // hosts)})


class Grant(BaseModel):
    """One caller's permission to call one method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: str = Field(pattern="^[0-9]{11}$")
    method: str = Field(min_length=1)
    clause: str = Field(min_length=1)
    since: Day
    until: Day | None = None
    quota: Quota
    required_metadata: tuple[RequiredMetadata, ...] = ()
    deprecated: Day | None = None
    """The day from which no new consumer should start to use the method."""
    sunset: Day | None = None
    """The day from which the method may be removed."""

    def in_force(self, day: date) -> bool:
        """Whether the grant permits calls on *day*, a calendar day in Iran."""
        return self.since <= day and (self.until is None or day <= self.until)


class Denial(BaseModel):
    """A certificate on the deny list: any of a public key, or the one with a serial number of an issuer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Fingerprint | None = None
    """SHA-256 of the public key (SubjectPublicKeyInfo)."""
    issuer: Annotated[str, AfterValidator(lambda text: name_text(parse_name(text)))] | None = None
    """The issuer's name (RFC 4514)."""
    serial: Annotated[str, Field(pattern="^[0-9A-Fa-f]{1,40}$")] | None = None
    """The serial number, hexadecimal."""
    reason: str = Field(min_length=1, max_length=500)

    @model_validator(mode="before")
    @classmethod
    def _has_one_form(cls, values: Any) -> Any:
        if isinstance(values, dict) and {"key", "issuer", "serial"} & values.keys() not in _DENIAL_FORMS:
            raise ValueError(
                "give the key, or the issuer and the serial, as `estelam pki show --details FILE` prints them; the hash"
                " of a certificate denies nobody, since its holder can rewrite the signature in it"
            )
        return values

    @property
    def name(self) -> str:
        """The name by which a certificate is found, as in `ClientCertificate.denial_names`."""
        return self.key or issued_name(self.issuer or "", int(self.serial or "", 16))


_DENIAL_FORMS = ({"key"}, {"issuer", "serial"})


class AccessTable(BaseModel):
    """All grants and denials, as read from a TOML file or derived from a catalogue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grant: tuple[Grant, ...]
    deny: tuple[Denial, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "AccessTable":
        """Load the TOML file *path*.

        Raises:
            AccessConfigError: the file can't be read, has an unknown key or an invalid value, holds no grant, or holds
                two grants for one caller and method.
        """
        table = load_model(path, cls, AccessConfigError)
        if not table.grant:
            raise AccessConfigError(f"{path}: holds no grant; add a [[grant]]")
        pairs = [(grant.caller, grant.method) for grant in table.grant]
        if len(set(pairs)) != len(pairs):
            raise AccessConfigError(f"{path}: two grants have the same caller and method")
        return table
