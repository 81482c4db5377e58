"""The list of failures that are known: each with its reason, and with a day after which it excuses nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UserFacingError


class KnownError(UserFacingError):
    """The list can't be used; the text says where and why."""


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
    """The last day on which it holds, in Iran."""


def read(path: Path) -> Mapping[str, KnownFailure]:
    """The failures that are known today, by case; those that have expired are left out, and excuse nothing.

    Raises:
        KnownError: the file can't be read, or one of its entries can't.
    """
    known: dict[str, KnownFailure] = {}
    for number, raw in enumerate(_entries(path), start=1):
        try:
            entry = _Entry.model_validate(raw)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"])) or "entry"
            raise KnownError(f"{path}: entry {number}: {place}: {fault['msg']}") from None
        if entry.case in known:
            raise KnownError(f"{path}: entry {number}: case: {entry.case} stands there twice")
        known[entry.case] = KnownFailure(entry.reason, entry.expires)
    today = datetime.now(UTC).astimezone(TEHRAN).date()
    return {case: failure for case, failure in known.items() if failure.expires >= today}


def _entries(path: Path) -> list[Any]:
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise KnownError(f"{path}: can't be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise KnownError(f"{path}:{where} not YAML") from None
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise KnownError(f"{path}: must be a list of entries with case, reason and expires")
    return entries
