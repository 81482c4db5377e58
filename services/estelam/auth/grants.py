"""The access table as data: one grant for each exact caller and exact method, and a deny-list."""

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from estelam.core.exceptions import UserFacingError
from estelam.core.model_files import load_model
from estelam.core.settings import Fingerprint

RequiredMetadata = Literal["x-inquiry-id", "x-case-reference", "x-operator"]


class AccessConfigError(UserFacingError):
    """The access table can't be used; the text is for the operator."""


class Quota(BaseModel):
    """A token bucket: it holds *burst* tokens and regains *rate* a second; an answer NO costs *miss_cost* in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: float = Field(gt=0)
    burst: int = Field(ge=1)
    miss_cost: int = Field(ge=1, default=1)


class Grant(BaseModel):
    """One caller's right to one method."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller: str = Field(pattern="^[0-9]{11}$")
    method: str = Field(min_length=1)
    clause: str = Field(min_length=1)
    since: date
    until: date | None = None
    quota: Quota
    demands: tuple[RequiredMetadata, ...] = ()
    deprecated: date | None = None
    """From when on nobody should begin to use the method, by its provider's word."""
    sunset: date | None = None
    """From when on the method may be gone."""

    def in_force(self, day: date) -> bool:
        """Whether it admits on *day*, of Iran's calendar."""
        return self.since <= day and (self.until is None or day <= self.until)


class Denial(BaseModel):
    """A barred certificate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: Fingerprint
    reason: str = Field(min_length=1)


class AccessTable(BaseModel):
    """The whole table, as its TOML file holds it or a catalogue yields it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grant: tuple[Grant, ...]
    deny: tuple[Denial, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "AccessTable":
        """Read *path*.

        Raises:
            AccessError: it can't be read, has an unknown key, holds no grant, or grants one caller one method twice.
        """
        table = load_model(path, cls, AccessConfigError)
        if not table.grant:
            raise AccessConfigError(f"{path}: no caller is granted anything")
        pairs = [(grant.caller, grant.method) for grant in table.grant]
        if len(set(pairs)) != len(pairs):
            raise AccessConfigError(f"{path}: a caller is granted a method twice")
        return table
