"""`estelam catalogue`: show and validate the services of the exchange and the grants to call them."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import Archive, AsJson, Catalogue

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.catalogue")
approving = implemented_in("estelam.cli.commands.catalogue_approval")


@app.command()
@implemented
def check(catalogue: Catalogue = None, as_json: AsJson = False) -> None:
    """Validate the catalogue, or the access table (TOML) that `--catalogue` names.

    Exit 0: it is valid; 1: it is not, with each fault by file and line.
    """


@app.command()
@implemented
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The name of a party, service, registry, grant, agreement or duty.", autocompletion=complete.records
        ),
    ] = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """List all services with their methods and grants, or print one record."""


@app.command("grants")
@implemented
def list_grants(
    consumer: Annotated[
        str | None, typer.Option(help="Only the grants of this consumer.", autocompletion=complete.consumers)
    ] = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """List all grants with their clause, period, quota and today's status."""


@app.command()
@implemented
def registries(catalogue: Catalogue = None, as_json: AsJson = False) -> None:
    """List the base registries and their custodians, in Persian and English."""


@app.command()
@implemented
def duties(
    owner: Annotated[
        str | None, typer.Option(help="Only the duties of this party.", autocompletion=complete.consumers)
    ] = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """List what the resolutions order, with owners, terms and states."""


@app.command("explain")
@implemented
def explain_call(
    consumer: Annotated[str, typer.Option(help="A party's name or its legal id.", autocompletion=complete.consumers)],
    method: Annotated[str, typer.Option(help="A method or a listed service.", autocompletion=complete.methods)],
    on: Annotated[
        str | None, typer.Option(metavar="DATE", help="The day of the call; default: today; 1405-09-03 is Jalali.")
    ] = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Explain by which grant, clause and quota a call would be authorized, or why not.

    Exit 0: it would be authorized; 20: it would not; 2: the catalogue has no such name.
    """


PersonKey = Annotated[
    Path,
    typer.Option(metavar="FILE", help="The approver's Ed25519 private key (PEM).", autocompletion=complete.files),
]
PersonName = Annotated[str, typer.Option(help="The name of the key, without blanks: that of its owner or office.")]


@app.command()
@approving
def approver(key: PersonKey, name: PersonName, as_json: AsJson = False) -> None:
    """Print an approver's verifier key, which services have in `access_approvers`."""


@app.command()
@approving
def approve(
    key: PersonKey,
    name: PersonName,
    reason: Annotated[str | None, typer.Option(help="Why the catalogue changes, on one line: of a new change.")] = None,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The catalogue before the change: print what differs.", autocompletion=complete.files
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be signed, and sign nothing.")] = False,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Sign the catalogue as it is: a new change, or one that somebody else has signed already.

    Exit 0: it is signed, by this key too; 2: this key has signed it already, or an option is missing.
    """


@app.command()
@implemented
def changes(
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only changes recorded from DATE on: a day or an instant.")
    ] = None,
    about: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only changes of this party, service or grant.", autocompletion=complete.records
        ),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(help="The services whose ledgers to read; default: all.", autocompletion=complete.stores),
    ] = None,
    archive: Archive = None,
    as_json: AsJson = False,
) -> None:
    """List the changes of the catalogue that the services recorded in their ledgers, oldest first."""
