"""`estelam promissory`: serve, load notes, and inquire about them."""

from typing import Annotated

import typer

from estelam.cli import options
from estelam.cli.bulk_options import declare
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import Options, inquiry
from estelam.cli.load_options import LoadOptions, load_options
from estelam.cli.options import File

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("promissory.commands")
loaded = implemented_in("promissory.loading")

app.command()(implemented(options.serve))


@app.command()
@load_options(without=("since", "tracking_since", "parties"))
@loaded
def load_notes(file: File, options: LoadOptions) -> None:
    """Load a file of notes: all of it, or nothing. Exit 0 too where it was loaded before."""


@app.command()
@load_options(without=("since", "tracking_since", "parties", "replace", "take_over"))
@loaded
def load_agencies(file: File, options: LoadOptions) -> None:
    """Load the whole list of Setad's member agencies; an agency that the file lacks is removed."""


app.command()(implemented_in("promissory.facts_verification")(options.verify_facts))
app.command()(implemented(options.recall))


@app.command()
@inquiry("promissory", "setad")
@implemented
def check(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    obligor: Annotated[str, typer.Option(help="The obligor's id.")],
    beneficiary: Annotated[str, typer.Option(help="The id of the beneficiary, who holds the note.")],
    amount: Annotated[str, typer.Option(help="The face amount in rials, as 2500000 or 2,500,000.")],
    options: Options,
) -> None:
    """Ask whether a note is genuine and live (R2.1). Exit 0: YES; 10: NO; any other code: no answer."""


@app.command()
@inquiry("promissory", "setad")
@implemented
def parties(
    serial: Annotated[str, typer.Option(help="The note's serial, 16 digits.")],
    agency: Annotated[str, typer.Option(help="The executive agency's id in Setad.")],
    options: Options,
) -> None:
    """Ask for the parties of a note just checked (R2.2). Exit 0: disclosed; any other code: no answer."""


declare(
    app,
    "bulk-check",
    "promissory",
    "setad",
    "promissory.bulk",
    "Ask for every note in a list whether it is genuine and live (R2.1).",
    "The list has the columns serial, obligor_id, beneficiary_id and amount_rials.",
)
