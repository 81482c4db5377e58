"""`estelam config`: check and show the settings."""

from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.config")

Sections = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SECTION]...",
        help="Tables of the settings, as promissory or client. Default: all that the settings name.",
        autocompletion=complete.sections,
    ),
]


@app.command()
@implemented
def check(sections: Sections = None, as_json: AsJson = False) -> None:
    """Check every setting, and that a service can start with the files that they name. Exit 1: one can't be used."""


@app.command()
@implemented
def show(sections: Sections = None, as_json: AsJson = False) -> None:
    """Show every setting as it is in force, and where it comes from: the file, a variable or its default."""
