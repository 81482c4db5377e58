"""`estelam ledger`: verify a ledger, and report the inquiries about a data subject."""

from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.complete import SUBJECT_KINDS
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Service

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.ledger")


@app.command("verify")
@implemented
def verify_ledger(
    service: Service,
    head: Annotated[
        str | None, typer.Option(metavar="NUMBER:HASH", help="A head published earlier, which the ledger must contain.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify the whole ledger. Exit 0: it is valid; 1: it is not; 2: --head is malformed, nothing was verified."""


@app.command("subject-report")
@implemented
def subject_report(
    service: Service,
    identifier: Annotated[str, typer.Argument(help="The identifier of the data subject.")],
    kind: Annotated[
        str,
        typer.Option(help=f"The identifier's kind: {', '.join(SUBJECT_KINDS)}.", autocompletion=complete.subject_kinds),
    ] = "person",
    as_json: AsJson = False,
) -> None:
    """List every inquiry about one identifier, for the person concerned."""
