"""Which installed services keep a store, and how to open one from the command line."""

from importlib.metadata import entry_points
from typing import Annotated

import typer

from estelam.core.settings import SettingsError, StoreSettings, load_settings


def kinds() -> dict[str, type[StoreSettings]]:
    """The settings class of each service that keeps a store, by the service's name."""
    return {entry.name: entry.load() for entry in sorted(entry_points(group="estelam.stores"), key=lambda e: e.name)}


def settings_of(service: str) -> StoreSettings:
    """The settings of one service.

    Raises:
        SettingsError: no such service keeps a store, or its settings are wrong.
    """
    if (kind := kinds().get(service)) is None:
        raise SettingsError(f"no service keeps a store by the name {service}; there are: {', '.join(kinds())}")
    return load_settings(kind)


Service = Annotated[str, typer.Argument(help="Whose ledger: promissory or judiciary.")]
