"""`estelam migrate`: bring the stores to the newest schema."""

from typing import Annotated

import typer

from estelam.cli import complete, output
from estelam.cli.stores import kinds, settings_of
from estelam.storage.migrate import migrate as migrate_store


def run(
    services: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SERVICE]...", help="The services; default: all.", autocompletion=complete.stores),
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Create the stores, or bring them to the newest schema."""
    done = {}
    with output.user_errors(as_json=as_json):
        names = services or list(kinds())
        for service in output.track(names, "stores migrated", as_json=as_json, total=len(names)):
            settings = settings_of(service)
            migrate_store(settings.store, settings.MIGRATIONS)
            done[service] = "current"
    output.print_record(done, as_json=as_json)
