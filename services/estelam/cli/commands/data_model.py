"""`estelam data-model`: export the data reference model of the contracts."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.registry_labels import registry_labels
from estelam.cli import complete, output
from estelam.cli.catalogue_option import Folder
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.data_model import export, model

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own."""


@app.command("export")
def export_model(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to write to; created if missing.", autocompletion=complete.files
        ),
    ],
    catalogue: Folder = None,
    as_json: output.AsJson = False,
) -> None:
    """Write the data dictionary (HTML in both languages, CSV), JSON Schema, and OpenAPI of the HTTP API."""
    with output.user_errors(as_json=as_json):
        registries = registry_labels(read_catalogue(catalogue or load_settings(CatalogueSettings).folder))
        written = export.write(model.load(), folder, registries)
    output.print_record({path.name: path for path in written}, as_json=as_json, title="Data reference model")
