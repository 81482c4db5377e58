"""TOML files that are loaded into pydantic models, with one form of error: `path: key: message`."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from estelam.core.exceptions import UserFacingError, named_error

MAX_FILE_BYTES = 1 << 20
UNKNOWN_KEY = "unknown key"

_TEXT, _LIST, _TABLE = "must be a text, between quotes", 'must be a list, as ["a", "b"]', "must be a table of keys"
_WHOLE_NUMBER, _NUMBER = "must be a whole number, as 12", "must be a number, as 12 or 0.5"
_DURATION = "must be a duration in ISO 8601, as PT24H or PT30M"
_MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": UNKNOWN_KEY,
    "string_type": _TEXT,
    "path_type": "must be a path, between quotes",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), _WHOLE_NUMBER),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _NUMBER),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "mapping_type"), _TABLE),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), _DURATION),
    **dict.fromkeys(("literal_error", "enum"), "must be {expected}"),
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_pattern_mismatch": "must be of the form {pattern}",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items",
    "json_invalid": "is not JSON: {error}",
}
"""What is expected, by pydantic's type of error; the texts of our own rules are their errors'."""

M = TypeVar("M", bound=BaseModel)


def load_model(path: Path, kind: type[M], error: type[UserFacingError], *, max_bytes: int = MAX_FILE_BYTES) -> M:
    """Read the TOML file *path* into a model of *kind*.

    Raises:
        error: The file can't be read, is not TOML in UTF-8, is larger than *max_bytes*, or breaks the model's rules.
    """
    content = load_toml(path, error, max_bytes=max_bytes)
    with named_error(error, f"{path}: a value in it is out of range"):
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
        hint = "; write a date with a year of four digits, between quotes" if _is_of_date(text, str(fault)) else ""
        raise error(f"{path}: not TOML: {fault}{hint}") from None
    except RecursionError:
        raise error(f"{path}: not TOML: nested too deeply") from None
    except ValueError:  # Python's limit on the digits of a number is no error of TOML
        raise error(f"{path}: not TOML: a number has too many digits") from None


def _is_of_date(text: str, fault: str) -> bool:
    """Return whether the *fault* in the TOML *text* is a date: 1405-02-31, no day of TOML's calendar, or 99-01-01."""
    place = re.search(r"at line ([0-9]+)", fault)
    lines = text.splitlines()
    line = lines[int(place[1]) - 1] if place and int(place[1]) <= len(lines) else ""
    return "date" in fault or re.search(r"=\s*[0-9]{1,4}[-/][0-9]{1,2}[-/]", line) is not None


def repeated_keys(content: bytes) -> list[str]:
    """Return the keys that an object in *content* (JSON) gives more than once; readers differ in which one holds."""
    repeated: list[str] = []

    def read(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    json.loads(content.decode("utf-8-sig"), object_pairs_hook=read)
    return repeated


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
    except ValueError:
        raise error(f"{path}: can't be read: no file has such a name") from None


def parse_json_model(
    path: Path,
    content: bytes,
    kind: type[M],
    error: type[UserFacingError],
    what: str,
    summary: Callable[[ValidationError], str] | None = None,
) -> M:
    """Return the model *kind* in *content*, JSON that was read from *path*; a byte order mark is skipped.

    Args:
        path: The file, for messages.
        content: What it holds.
        kind: The model.
        error: The error to raise.
        what: What the file should be, as the message for damage of any other kind says: "it is no *what*".
        summary: Describes what breaks the model's rules; default: `validation_summary`.

    Raises:
        error: It is no such JSON, or gives a key twice.
    """
    with named_error(error, f"{path}: is no {what}"):
        try:
            found = kind.model_validate_json(content.removeprefix(b"\xef\xbb\xbf"))
        except ValidationError as invalid:
            raise error(f"{path}: {(summary or validation_summary)(invalid)}") from None
        if repeated := repeated_keys(content):
            raise error(f"{path}: {', '.join(repeated)}: is given twice; give each key once")
        return found


def validation_summary(invalid: ValidationError, prefix: str = "") -> str:
    """Return `key: message` for each error of *invalid* on one line, without a key if it is of the whole file.

    *prefix* precedes each key.
    """
    named = ((prefix + ".".join(place), message) for place, message in faults(invalid))
    return "; ".join(f"{key}: {message}" if key else message for key, message in named)


def faults(invalid: ValidationError) -> Iterator[tuple[list[str], str]]:
    """Yield the place of each error of *invalid*, as keys and numbers of items, and its message."""
    for found in invalid.errors():
        yield list(map(str, found["loc"])), fault_message(found)


def fault_message(found: Mapping[str, Any]) -> str:
    """Return what is expected where pydantic has *found* an error."""
    if text := _MESSAGES.get(found["type"]):
        return text.format(**found.get("ctx", {}))
    return str(found["msg"]).removeprefix("Value error, ")
