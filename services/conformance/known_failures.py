"""The list of known failures: each with a reason, and with a last day on which it applies."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UserFacingError


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
    expires: date
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
            raise KnownFailuresError(f"{path}: entry {number}: {place}: {first['msg']}") from None
        if entry.case in known:
            raise KnownFailuresError(f"{path}: entry {number}: case: {entry.case} is a duplicate")
        known[entry.case] = KnownFailure(entry.reason, entry.expires)
    today = datetime.now(UTC).astimezone(TEHRAN).date()
    return {case: failure for case, failure in known.items() if failure.expires >= today}


def _entries(path: Path) -> list[Any]:
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KnownFailuresError(f"{path}: can't be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise KnownFailuresError(f"{path}:{where} not YAML") from None
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise KnownFailuresError(f"{path}: must be a list of entries with case, reason and expires")
    return entries
