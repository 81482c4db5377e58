"""The list of known failures: each with a reason, and with a last day on which it applies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.date_fields import Day
from estelam.core.exceptions import UserFacingError, named_error
from estelam.core.model_files import fault_message, read_text


class KnownFailuresError(UserFacingError):
    """The list of known failures is invalid; the text says where and why."""


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """Why a case is known to fail, and until when."""

    reason: str
    expires: date


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    case: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    expires: Day
    """The last day, in Iran, on which it applies."""


def read(path: Path) -> Mapping[str, KnownFailure]:
    """Return the known failures that have not expired, by case.

    Raises:
        KnownFailuresError: the file can't be read, or an entry is invalid.
    """
    known: dict[str, KnownFailure] = {}
    for number, raw in enumerate(_entries(path), start=1):
        try:
            entry = _Entry.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "entry"
            raise KnownFailuresError(f"{path}: entry {number}: {place}: {fault_message(first)}") from None
        if entry.case in known:
            raise KnownFailuresError(f"{path}: entry {number}: case: {entry.case} is a duplicate")
        known[entry.case] = KnownFailure(entry.reason, entry.expires)
    today = dates.today(Clock().now())
    return {case: failure for case, failure in known.items() if failure.expires >= today}


def _entries(path: Path) -> list[Any]:
    with named_error(KnownFailuresError, f"{path}: not YAML"):
        try:
            # Every value stays text: YAML would read a Jalali date as a day of the Gregorian calendar.
            entries = yaml.load(read_text(path, KnownFailuresError), Loader=yaml.BaseLoader)  # noqa: S506 - text only
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" line {mark.line + 1}:" if mark else ""
            raise KnownFailuresError(f"{path}:{where} not YAML") from None
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise KnownFailuresError(f"{path}: must be a list of entries with case, reason and expires")
    return entries
