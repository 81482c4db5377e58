"""`estelam judiciary`: serve, load cases, and inquire about them."""

from typing import Annotated

import typer

from estelam.cli import options
from estelam.cli.bulk_options import declare
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import Options, inquiry
from estelam.cli.load_options import LoadOptions, load_options
from estelam.cli.options import File

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("judiciary.commands")

app.command()(implemented(options.serve))


@app.command()
@load_options()
@implemented_in("judiciary.loading")
def load_cases(file: File, options: LoadOptions) -> None:
    """Load a file of cases: all of it, or nothing. Exit 0 too where it was loaded before."""


app.command()(implemented_in("judiciary.facts_verification")(options.verify_facts))
app.command()(implemented(options.recall))


@app.command()
@inquiry("judiciary", "cbi")
@implemented
def check_person(
    national_id: Annotated[str, typer.Option(help="The drawer's national id.")],
    options: Options,
) -> None:
    """Ask whether a case names this person as drawer, or without a role (R3.1.1).

    Exit 0: YES; 10: NO; any other code: no answer.
    """


@app.command()
@inquiry("judiciary", "cbi")
@implemented
def check_cheque(
    tracking_id: Annotated[str, typer.Option(help="The tracking code of the certificate of non-payment.")],
    options: Options,
) -> None:
    """Ask whether a case was filed about the cheque of this certificate (R3.1.2).

    A case that names only another certificate of the cheque is found where the data joins the two by its Sayad id.
    Exit 0: YES; 10: NO; any other code: no answer.
    """


declare(
    app,
    "bulk-check-cheques",
    "judiciary",
    "cbi",
    "judiciary.bulk.cheques",
    "Ask for every certificate of non-payment in a list whether a case was filed about its cheque (R3.1.2).",
    "The list has the column tracking_id and, if known, certificate_issued_on.",
)
declare(
    app,
    "bulk-check-persons",
    "judiciary",
    "cbi",
    "judiciary.bulk.persons",
    "Ask for every person in a list whether a case names them as drawer, or without a role (R3.1.1).",
    "The list has the column national_id.",
)
