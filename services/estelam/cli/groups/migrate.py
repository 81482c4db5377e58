"""`estelam migrate`: bring the stores to the newest schema."""

from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson


@implemented_in("estelam.cli.commands.migrate")
def migrate(
    services: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SERVICE]...",
            help="The services; default: all that the settings name.",
            autocompletion=complete.migrated,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the stores, or bring them to the newest schema."""
