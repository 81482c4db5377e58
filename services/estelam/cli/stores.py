"""Installed services that have a store, and their settings."""

from estelam.core.installed import installed
from estelam.core.names import unknown_name
from estelam.core.settings import StoreSettings, load_settings


def kinds() -> dict[str, type[StoreSettings]]:
    """Return the settings class of each service that has a store, by the service's name."""
    return {entry.name: entry.load() for entry in installed("estelam.stores")}


def settings_of(service: str) -> StoreSettings:
    """Return the settings of one service.

    Raises:
        UnknownNameError: no installed service of that name has a store.
        SettingsError: its settings are wrong.
    """
    if (kind := kinds().get(service)) is None:
        raise unknown_name("service with a store", service, list(kinds()))
    return load_settings(kind)
