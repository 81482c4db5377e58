"""`estelam pki`: certificates and keys."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import MAX_DAYS, AsJson, whole_number

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `show` a command of its own."""


@app.command()
@implemented_in("estelam.cli.commands.pki")
def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION|FILE]...",
            help="Tables of the settings, as promissory or client, or files (PEM). Default: all of the settings file.",
            autocompletion=complete.sections,
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(parser=whole_number(0, MAX_DAYS), metavar="N", help="Report what expires within so many days."),
    ] = 30,
    details: Annotated[
        bool, typer.Option("--details", help="Print issuer, serial number, key, dates and hashes of each.")
    ] = False,
    access: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Also say of each certificate whether this access table (TOML) or catalogue (folder) denies it.",
            autocompletion=complete.files,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every certificate and revocation list in the settings, or in files.

    Exit 0: all are valid; 1: one is not, or expires within --days.
    """
