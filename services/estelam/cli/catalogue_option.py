"""The option that names the catalogue's folder."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete

Folder = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        metavar="DIR",
        help="The catalogue's folder; default: the settings.",
        autocompletion=complete.files,
    ),
]
