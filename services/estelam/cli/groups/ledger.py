"""`estelam ledger`: verify a ledger, and report the inquiries about a data subject."""

from typing import Annotated

import typer

from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Service, whole_number
from estelam.core.subjects import SubjectKind

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
    """Verify the whole ledger. Exit 0: it is valid; 1: it is INVALID; 2: --head is malformed; 21: it can't be read."""


@app.command("subject-report")
@implemented
def subject_report(
    service: Service,
    identifier: Annotated[str, typer.Argument(help="The identifier of the data subject.")],
    kind: Annotated[SubjectKind, typer.Option(help="The identifier's kind.")] = SubjectKind.PERSON,
    as_json: AsJson = False,
) -> None:
    """List every inquiry about one identifier, for the person concerned.

    Exit 0: the ledger was searched, and what was searched is printed; 2: the identifier is malformed; 21: the ledger
    can't be searched.
    """


@app.command("loads")
@implemented
def list_loads(
    service: Service,
    entry: Annotated[
        int | None,
        typer.Option(
            parser=whole_number(1),
            metavar="N",
            help="Print only the load from which this entry was answered, the newest then.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the loads that the ledger notes: every entry after a note was answered from data that includes its load.

    Exit 0: listed; 2: there is no such entry; 21: the ledger can't be read.
    """


@app.command("recalls")
@implemented
def list_recalls(service: Service, as_json: AsJson = False) -> None:
    """List the runs of recall that the ledger notes, with the number of answers each listed.

    A run is noted when the service starts or at its next health check. Exit 0: listed; 21: the ledger can't be read.
    """
