"""`estelam setad`: serve, and verify a note for a buyer."""

from typing import Annotated

import typer

from estelam.cli import options
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import Options, inquiry

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("sataad_adapter.commands")

app.command()(implemented(options.serve))


@app.command()
@inquiry("setad", "setad")
@implemented
def verify(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    obligor: Annotated[str, typer.Option(help="The obligor's id.")],
    beneficiary: Annotated[str, typer.Option(help="The id of the beneficiary, who holds the note.")],
    amount: Annotated[str, typer.Option(help="The face amount in rials, as 2500000 or 2,500,000.")],
    agency: Annotated[str, typer.Option(help="The buying agency's id in Setad.")],
    options: Options,
) -> None:
    """Verify a note and, if it is genuine, ask for its parties. Exit 0: YES; 10: NO; any other code: no answer."""
