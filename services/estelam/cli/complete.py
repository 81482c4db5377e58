"""Values for shell completion. A completion never fails: where a source can't be read, it offers nothing."""

import functools
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from os import environ
from pathlib import Path
from typing import Any, TypeVar

from estelam.core import dates
from estelam.core.installed import installed
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG

V = TypeVar("V")


def _never_fails(source: Callable[[], list[V]]) -> Callable[[], list[V]]:
    """Return no values where *source* raises: whatever is wrong with a file is not for a completion to report."""

    @functools.wraps(source)
    def complete() -> list[V]:
        try:
            return source()
        except Exception:  # noqa: BLE001 - a traceback would end up in the command line that is being typed
            return []

    return complete


def files(incomplete: str) -> list[str]:  # noqa: ARG001 - the shell completes it
    """Leave a path to the shell, which completes files where a command offers no values."""
    return []


def stores() -> list[str]:
    """Return the services that have a store."""
    return [entry.name for entry in installed("estelam.stores")]


def migrated() -> list[str]:
    """Return the services whose store `estelam migrate` creates."""
    services = installed("estelam.services")
    return [each.name for each in services if find_spec(f"{each.module.partition('.')[0]}.migrations")]


def sections() -> list[str]:
    """Return the sections of the settings that may name certificates."""
    return ["client", *(entry.name for entry in installed("estelam.services"))]


@_never_fails
def identities() -> list[str]:
    """Return the names of the certificates that have a private key in the client's folder."""
    return sorted(path.stem for path in _folder("client", "pki").glob("*.key"))


@_never_fails
def addresses() -> list[str]:
    """Return the addresses of the settings."""
    return sorted(set(_table("client").get("addresses", {}).values()))


@_never_fails
def consumers() -> list[tuple[str, str]]:
    """Return the parties of the catalogue, with their English names."""
    return [(row["slug"], row.get("en", "")) for row in _records("parties.yaml", "parties")]


@_never_fails
def services() -> list[tuple[str, str]]:
    """Return the services of the catalogue, with their English names."""
    return [(row["slug"], row.get("en", "")) for row in _records("services.yaml", "services")]


@_never_fails
def methods() -> list[str]:
    """Return the methods and the names of the services of the catalogue."""
    found = list(_records("services.yaml", "services"))
    names = [f"{row['slug']}/{method['name']}" for row in found for method in row.get("methods", ())]
    return [*names, *(row["slug"] for row in found)]


@_never_fails
def records() -> list[str]:
    """Return the names of all parties, services, registries, grants and agreements of the catalogue."""
    found = [row.get("slug") or row.get("id") for row in _all_records()]
    return sorted({str(name) for name in found if name})


@_never_fails
def audiences() -> list[str]:
    """Return whom a monthly report can be for."""
    parties = [name for name, _ in consumers()]
    return ["working-group", *(f"{role}:{name}" for role in ("provider", "consumer") for name in parties)]


def months() -> list[str]:
    """Return the last twelve Jalali months, the current one first."""
    year, month, _ = dates.format_jalali(dates.today(datetime.now(UTC))).split("-")
    this = int(year) * 12 + int(month) - 1
    counts = [this - back for back in range(12)]
    return [f"{count // 12}-{count % 12 + 1:02}" for count in counts]


def _settings() -> Path:
    return Path(environ.get(CONFIG, DEFAULT_CONFIG))


def _table(section: str) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(_settings().read_text("utf-8-sig")).get(section, {}))
    except (OSError, ValueError, TypeError):
        return {}


def _folder(section: str, key: str, default: str = "") -> Path:
    named = environ.get(f"ESTELAM_{section}_{key}".upper())
    if named:
        return Path(named)
    value = _table(section).get(key)
    return _settings().parent / str(value) if value else Path(default)


def _records(file: str, key: str) -> Iterator[dict[str, Any]]:
    yield from (row for row in _read(_folder("catalogue", "folder", "catalogue") / file, key) if "slug" in row)


def _all_records() -> Iterator[dict[str, Any]]:
    for path in sorted(_folder("catalogue", "folder", "catalogue").glob("**/*.yaml")):
        yield from _read(path)


def _read(path: Path, key: str | None = None) -> list[dict[str, Any]]:
    import yaml  # noqa: PLC0415 - not needed to complete other values

    try:
        page = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe
        rows = [row for name, rows in page.items() if key in {None, name} for row in rows]
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
        return []
    return [row for row in rows if isinstance(row, dict)]
