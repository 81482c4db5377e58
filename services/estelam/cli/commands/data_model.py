"""`estelam data-model`: the data reference model of the contracts."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.catalogue.loader import read_catalogue
from estelam.catalogue.registry_labels import registry_labels
from estelam.cli import output
from estelam.core.settings import CatalogueSettings, load_settings
from estelam.data_model import export, model

app = typer.Typer(help="The data reference model: what each field is, means and comes from.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own."""


@app.command("export")
def export_model(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if need be.")],
    catalogue: Annotated[
        Path | None,
        typer.Option(
            "--catalogue",
            metavar="DIR",
            help="The catalogue, which knows the registries' names; default: ESTELAM_CATALOGUE_FOLDER.",
        ),
    ] = None,
    as_json: output.AsJson = False,
) -> None:
    """Write the dictionary as a page in both languages and as CSV; JSON Schema; and OpenAPI of what HTTP may ask."""
    with output.user_errors(as_json=as_json):
        registries = registry_labels(read_catalogue(catalogue or load_settings(CatalogueSettings).folder))
        written = export.write(model.load(), folder, registries)
    output.print_record({path.name: path for path in written}, as_json=as_json, title="Data reference model")
