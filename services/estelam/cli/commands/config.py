"""Commands of `estelam config`: check and show the settings."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estelam.cli import output
from estelam.cli.sections import section_kinds, sections_in_file
from estelam.core.exceptions import UserFacingError, describe_error
from estelam.core.names import unknown_name
from estelam.core.settings import (
    CatalogueSettings,
    ServingSettings,
    SettingsError,
    SettingsSection,
    StoreSettings,
    load_settings,
)
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG, PREFIX
from estelam.server.file_check import check_serving_files, check_store_files
from estelam.witness.app import check_files as check_witness_files
from estelam.witness.settings import WitnessSettings

_PASSWORD = re.compile(r"(?<=://)([^:/@]*:)[^@]*(?=@)|([?&](?:ssl)?password=)[^&]*")


def check(sections: list[str] | None, *, as_json: bool) -> None:
    """Check the settings of *sections*, and the files that services start with; print all errors at once."""
    with output.user_errors(as_json=as_json):
        kinds = _kinds(sections)
        if errors := [error for kind in kinds.values() for error in _errors(kind)]:
            raise SettingsError("; ".join(errors))
    output.print_record({"file": _file(), **dict.fromkeys(kinds, "valid")}, as_json=as_json)


def show(sections: list[str] | None, *, as_json: bool) -> None:
    """Show each setting of *sections* with its source; the password in the address of a store is not shown."""
    with output.user_errors(as_json=as_json):
        rows = [row for kind in _kinds(sections).values() for row in _rows(load_settings(kind))]
    output.print_rows(("setting", "value", "source"), rows, as_json=as_json)


def _kinds(sections: list[str] | None) -> dict[str, type[SettingsSection]]:
    """Return the classes of *sections*, by default of all that the file or a variable names."""
    others: tuple[type[SettingsSection], ...] = (CatalogueSettings, WitnessSettings)
    known = section_kinds() | {kind.SECTION: kind for kind in others}
    for name in sections or ():
        if name not in known:
            raise unknown_name("section of the settings", name, list(known))
    in_file = sections_in_file()
    named = [name for name in known if name in in_file or _has_variable(name)]
    if not (found := sections or named):
        advice = f"name a file by --config or {CONFIG}, or make one with estelam init"
        raise SettingsError(f"{_file().absolute()}: no settings; {advice}")
    return {name: known[name] for name in found}


def _has_variable(section: str) -> bool:
    return any(name.startswith(f"{PREFIX}{section.upper()}_") for name in os.environ)


def _errors(kind: type[SettingsSection]) -> Iterator[str]:
    try:
        settings = load_settings(kind)
        if isinstance(settings, StoreSettings):
            check_store_files(settings)
        elif isinstance(settings, ServingSettings):
            check_serving_files(settings)
        elif isinstance(settings, WitnessSettings):
            check_witness_files(settings)
    except SettingsError as error:
        yield str(error)
    except (UserFacingError, OSError) as error:
        yield f"[{kind.SECTION}] {describe_error(error)}"


def _rows(settings: SettingsSection) -> Iterator[tuple[str, Any, str]]:
    for name, value in settings.model_dump(mode="json").items():
        setting = f"{settings.SECTION}.{name}"
        origin = settings.origin(name)
        file = str(_file()) if name in settings.model_fields_set else "default"
        yield setting, _hidden(value), file if origin == setting else origin


def _hidden(value: Any) -> Any:
    """Return *value* without the passwords in addresses."""
    if isinstance(value, dict):
        return {key: _hidden(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", value) if isinstance(value, str) else value


def _file() -> Path:
    return Path(os.environ.get(CONFIG, DEFAULT_CONFIG))
