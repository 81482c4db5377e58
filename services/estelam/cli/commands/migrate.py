"""The command `estelam migrate`: bring the stores to the newest schema."""

import os
from typing import Any

from estelam.cli import output
from estelam.cli.sections import sections_in_file, stored_kinds
from estelam.core.names import unknown_name
from estelam.core.settings import SettingsSection, load_settings
from estelam.core.settings_file import PREFIX
from estelam.storage.grants import Role
from estelam.storage.migrate import migrate as migrate_store


def migrate(services: list[str] | None, *, as_json: bool) -> None:
    """Create the stores of *services*, default all that the settings name, or bring them to the newest schema."""
    done = {}
    with output.user_errors(as_json=as_json):
        kinds = stored_kinds()
        names = services or _named(kinds) or list(kinds)
        for service in output.track(names, "stores migrated", as_json=as_json, total=len(names)):
            if service not in kinds:
                raise unknown_name("service with a store", service, list(kinds))
            settings = load_settings(kinds[service])
            migrate_store(settings.store, settings.MIGRATIONS, _roles(settings))
            done[service] = "current"
    output.print_record(done, as_json=as_json)


def _roles(settings: SettingsSection) -> dict[Role, str]:
    return {use: name for use in Role if (name := getattr(settings, f"{use}_role", None)) is not None}


def _named(kinds: dict[str, Any]) -> list[str]:
    """Return those of *kinds* that have a section in the settings file, or their store in a variable."""
    in_file = sections_in_file()
    return [name for name in kinds if name in in_file or f"{PREFIX}{name.upper()}_STORE" in os.environ]
