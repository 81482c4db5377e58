"""`estelam offboarding`: from the decision to end a consumer's access to its first refusal, step by step."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.groups.onboarding import Address, Authorities, Expires, Folder, Key, OneMethod, Question
from estelam.cli.options import AsJson, Catalogue

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.offboarding")


@app.command()
@implemented
def request(
    folder: Folder,
    consumer: Annotated[str, typer.Option(help="The consumer's name.", autocompletion=complete.consumers)],
    reason: Annotated[str, typer.Option(help="Why the access ends, on one line; it is public.")],
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="The last day of its grants, included; 1405-09-03 is Jalali.")
    ] = None,
    deny: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A certificate (PEM) whose public key is denied at once; may be repeated.",
            autocompletion=complete.files,
        ),
    ] = None,
    days: Expires = 30,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Write a request to end a consumer's access into a new folder: on a day, at once by its keys, or both."""


@app.command()
@implemented
def stage(folder: Folder, catalogue: Catalogue = None, as_json: AsJson = False) -> None:
    """Write the end of the grants and the denied keys into the catalogue."""


@app.command()
@implemented
def check(
    folder: Folder,
    key: Key = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The consumer's certificate (PEM).", autocompletion=complete.files),
    ] = None,
    question: Question = None,
    method: OneMethod = None,
    address: Address = None,
    ca_certificates: Authorities = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Check that the access has ended: by the catalogue and, with the consumer's key, by a call that is refused.

    Exit 0: it has ended; 1: it has not; 21: nobody answered.
    """


@app.command()
@implemented
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Show the request, the steps that were taken, and the next one."""
