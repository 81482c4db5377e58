"""`estelam dev-ca`: issue certificates for development."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import MAX_DAYS, AsJson, whole_number

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.dev_ca")

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The folder of the authority and its certificates.", autocompletion=complete.files
    ),
]


@app.command()
@implemented
def init(folder: Folder, as_json: AsJson = False) -> None:
    """Create a certificate authority."""


@app.command()
@implemented
def issue(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The certificate's file name, without an ending.")],
    organization_id: Annotated[str, typer.Option(help="The organisation's legal id, 11 digits.")],
    host: Annotated[
        list[str] | None, typer.Option(help="A host name or address of the server; may be repeated.")
    ] = None,
    days: Annotated[
        int, typer.Option(parser=whole_number(1, MAX_DAYS), metavar="N", help="Days until it expires.")
    ] = 365,
    signing: Annotated[
        bool, typer.Option("--signing", help="Issue a certificate to sign ledgers and reports, not for TLS.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Issue a certificate for an organisation."""
