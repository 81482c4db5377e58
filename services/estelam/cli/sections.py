"""The sections of the settings, and the class of each."""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from estelam.core.installed import installed
from estelam.core.model_files import load_toml
from estelam.core.settings import ClientSettings, SettingsError, SettingsSection
from estelam.core.settings_file import CONFIG, DEFAULT_CONFIG


def section_kinds() -> dict[str, type[SettingsSection]]:
    """Return the settings class of the client and of each installed service with settings, by the section's name."""
    found: dict[str, type[SettingsSection]] = {ClientSettings.SECTION: ClientSettings}
    for entry in installed("estelam.services"):
        module = f"{entry.module.partition('.')[0]}.settings"
        if find_spec(module) is not None:
            kinds = [one for one in vars(import_module(module)).values() if isinstance(one, type)]
            own = (one for one in kinds if issubclass(one, SettingsSection) and one.__module__ == module)
            found |= {one.SECTION: one for one in own}
    return found


def stored_kinds() -> dict[str, Any]:
    """Return the settings class of each section that has a store with migrations, by the section's name."""
    return {name: kind for name, kind in section_kinds().items() if hasattr(kind, "MIGRATIONS")}


def sections_in_file() -> list[str]:
    """Return the names of the sections that the settings file has; none without a file.

    Raises:
        SettingsError: the file can't be read.
    """
    path = Path(os.environ.get(CONFIG, DEFAULT_CONFIG))
    return list(load_toml(path, SettingsError)) if path.exists() or CONFIG in os.environ else []
