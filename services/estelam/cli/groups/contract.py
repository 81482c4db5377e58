"""`estelam contract`: export the contract for other languages."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own."""


@app.command("export")
@implemented_in("estelam.cli.commands.contract")
def export_contract(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The folder to write to; created if missing.", autocompletion=complete.files
        ),
    ],
    protoset: Annotated[
        bool, typer.Option("--protoset", help="Write estelam.protoset too: the contract as one descriptor set.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write every proto file of the contract with all that it imports, and errors.json: reasons, metadata, limits."""
