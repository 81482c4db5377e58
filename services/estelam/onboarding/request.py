"""What is asked for: the access of a new consumer, or the end of one's access."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from estelam.auth.grants import Quota, RequiredMetadata
from estelam.catalogue.model import Slug
from estelam.core.date_fields import Day
from estelam.core.exceptions import UserFacingError
from estelam.core.normalize import check_line
from estelam.core.settings import Fingerprint

Line = Annotated[str, AfterValidator(lambda text: check_line(text, 500))]
"""A text on one line."""


class DossierError(UserFacingError):
    """The files of a request can't be used."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RequestedMethod(_Table):
    """A method that a consumer asks for, with the quota."""

    name: str = Field(pattern="^[A-Z][A-Za-z]*$")
    quota: Quota
    required_metadata: tuple[RequiredMetadata, ...] = ()


class OnboardingRequest(_Table):
    """A consumer's request for access to methods of one provider."""

    consumer: Slug
    fa: Line | None = None
    """The name in Persian; needed unless the catalogue has the consumer."""
    en: Line | None = None
    legal_id: str = Field(pattern="^[0-9]{11}$")
    purpose: Line
    expires: Day
    """The last day on which the request can be carried out."""
    method: tuple[RequestedMethod, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        if len({each.name for each in self.method}) < len(self.method):
            raise ValueError("method: a method is named twice")
        return self


class OffboardingRequest(_Table):
    """A request to end a consumer's access: on a day, at once by denying its keys, or both."""

    consumer: Slug
    reason: Line
    until: Day | None = None
    """The last day of the consumer's grants, included."""
    deny: tuple[Fingerprint, ...] = ()
    """SHA-256 of each public key whose certificates are denied at once."""
    expires: Day

    @model_validator(mode="after")
    def _ends_something(self) -> Self:
        if self.until is None and not self.deny:
            raise ValueError("gives neither the last day (until) nor a key to deny (deny); give one of them or both")
        return self


def to_toml(values: Mapping[str, Any]) -> str:
    """Return *values* as lines of TOML; those that are None or empty are left out.

    Texts must be on one line. A list of tables becomes repeated tables, at the end.
    """
    plain = {name: value for name, value in values.items() if value not in (None, (), [], {})}
    tables = {name: rows for name, rows in plain.items() if _is_tables(rows)}
    lines = [f"{name} = {_value(value)}\n" for name, value in plain.items() if name not in tables]
    for name, rows in tables.items():
        lines += [f"\n[[{name}]]\n{to_toml(row)}" for row in rows]
    return "".join(lines)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False)
