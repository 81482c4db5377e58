"""`estelam quality witness`: list and acknowledge the alarms about ledgers."""

from typing import Annotated

import typer

from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, whole_number

app = typer.Typer(help="List and acknowledge the alarms about ledgers.", no_args_is_help=True)
implemented = implemented_in("quality.witness.commands")


@app.command()
@implemented
def alarms(
    as_json: AsJson = False,
    everything: Annotated[bool, typer.Option("--all", help="Include those that were acknowledged.")] = False,
) -> None:
    """List the ledgers that do not continue what was verified of them.

    Exit 0: listed; 21: the store can't be read.
    """


@app.command()
@implemented
def acknowledge(
    number: Annotated[int, typer.Argument(parser=whole_number(1), help="The alarm's number, as `alarms` prints it.")],
    operator: Annotated[str, typer.Option(metavar="NAME", help="Who acknowledges it, by an official name.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the ledger was restored. Name no person asked for.")],
    as_json: AsJson = False,
) -> None:
    """Accept a ledger as it is now, and go on from there; reports show the alarm for ever.

    Nothing that was counted is counted again. The key that cosigned the lost state never cosigns this ledger again.
    Exit 0: acknowledged; 1: INVALID, the ledger can't be accepted, or changed again and has a new alarm; 2: no such
    alarm; 21: a store can't be read.
    """
