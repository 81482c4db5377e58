"""TOML files that are loaded into pydantic models, with one form of error: `path: key: message`."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from estelam.core.exceptions import UserFacingError

MAX_FILE_BYTES = 1 << 20
UNKNOWN_KEY = "unknown key"

M = TypeVar("M", bound=BaseModel)


def load_model(path: Path, kind: type[M], error: type[UserFacingError], *, max_bytes: int = MAX_FILE_BYTES) -> M:
    """Read the TOML file *path* into a model of *kind*.

    Raises:
        error: The file can't be read, is not TOML in UTF-8, is larger than *max_bytes*, or breaks the model's rules.
    """
    content = load_toml(path, error, max_bytes=max_bytes)
    try:
        return kind.model_validate(content)
    except ValidationError as invalid:
        raise error(f"{path}: {validation_summary(invalid)}") from None


def load_toml(path: Path, error: type[UserFacingError], *, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Read the TOML file *path*; a byte order mark is skipped.

    Raises:
        error: The file can't be read, is not TOML in UTF-8, or is larger than *max_bytes*.
    """
    text = read_text(path, error, max_bytes=max_bytes)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        # TOML knows the days of the Gregorian calendar only: 1405-02-31 is none of them.
        hint = "; write a Jalali date between quotes" if "date" in str(fault) else ""
        raise error(f"{path}: not TOML: {fault}{hint}") from None
    except RecursionError:
        raise error(f"{path}: not TOML: nested too deeply") from None


def read_text(path: Path, error: type[UserFacingError], *, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Read the text file *path*, in UTF-8; a byte order mark, as editors on Windows write it, is skipped.

    Raises:
        error: The file can't be read, is not UTF-8, or is larger than *max_bytes*.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise error(f"{path}: larger than {max_bytes} bytes")
        return content.decode("utf-8-sig")
    except OSError as fault:
        raise error(f"{path}: can't be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{path}: not UTF-8") from None


def validation_summary(invalid: ValidationError, prefix: str = "") -> str:
    """Return `key: message` for each error of *invalid* on one line; *prefix* precedes each key."""
    return "; ".join(f"{prefix}{'.'.join(place)}: {message}" for place, message in faults(invalid))


def faults(invalid: ValidationError) -> Iterator[tuple[list[str], str]]:
    """Yield the place of each error of *invalid*, as keys and numbers of items, and its message."""
    for found in invalid.errors():
        yield list(map(str, found["loc"])), _message(found["type"], found["msg"])


def _message(kind: str, text: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return UNKNOWN_KEY
        case _:
            return text.removeprefix("Value error, ")
