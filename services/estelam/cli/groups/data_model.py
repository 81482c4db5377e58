"""`estelam data-model`: export the data reference model of the contracts."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Catalogue

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own."""


@app.command("export")
@implemented_in("estelam.cli.commands.data_model")
def export_model(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to write to; created if missing.", autocompletion=complete.files
        ),
    ],
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Write the data dictionary (HTML in both languages, CSV), JSON Schema, and OpenAPI of the HTTP API."""
