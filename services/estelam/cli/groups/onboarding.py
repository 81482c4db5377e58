"""`estelam onboarding`: from a consumer's request to its first answer, step by step."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import MAX_DAYS, AsJson, Catalogue, number, whole_number

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.onboarding")

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The folder of the request and its steps.", autocompletion=complete.files),
]
Expires = Annotated[
    int, typer.Option(parser=whole_number(1, 366), metavar="N", help="Days in which the request can be carried out.")
]
Key = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The consumer's private key (PEM).", autocompletion=complete.files),
]
Question = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The request to send (JSON).", autocompletion=complete.files),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="The service's address; default: the settings.", autocompletion=complete.addresses
    ),
]
Authorities = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The authorities of the service's certificate; default: ca.crt of the pki folder.",
        autocompletion=complete.files,
    ),
]
OneMethod = Annotated[str | None, typer.Option(help="The method to call; default: the first.")]


@app.command()
@implemented
def request(
    folder: Folder,
    consumer: Annotated[str, typer.Option(help="The consumer's name in the catalogue, as sample-bank.")],
    legal_id: Annotated[str, typer.Option(help="Its legal id, 11 digits.")],
    csr: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Its request for a certificate (PEM).", autocompletion=complete.files),
    ],
    method: Annotated[list[str], typer.Option(help="A method that it asks for; may be repeated.")],
    purpose: Annotated[str, typer.Option(help="What it needs the answers for, on one line.")],
    rate: Annotated[float, typer.Option(parser=number(0.000_001), metavar="N", help="Inquiries per second.")],
    burst: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="Inquiries at once.")],
    miss_cost: Annotated[int, typer.Option(parser=whole_number(1), metavar="N", help="What a NO costs.")] = 1,
    fa: Annotated[str | None, typer.Option(help="Its name in Persian, if it is not in the catalogue.")] = None,
    en: Annotated[str | None, typer.Option(help="Its name in English, if it is not in the catalogue.")] = None,
    days: Expires = 30,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Write a request for access into a new folder, after a check of the certificate request."""


@app.command()
@implemented
def approve(
    folder: Folder,
    by: Annotated[str, typer.Option(help="Who approves: provider or secretariat.")],
    reference: Annotated[str, typer.Option(help="The reference of the letter; it names no person.")],
    on: Annotated[
        str | None, typer.Option(metavar="DATE", help="The day of the approval; default: today; 1405-09-03 is Jalali.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Record an approval: both are needed, of the provider and of the secretariat (R1.0)."""


@app.command()
@implemented
def issue(
    folder: Folder,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A development authority that issues the certificate.", autocompletion=complete.files
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The certificate that another authority issued.", autocompletion=complete.files
        ),
    ] = None,
    days: Annotated[
        int, typer.Option(parser=whole_number(1, MAX_DAYS), metavar="N", help="Days until it expires, with --ca.")
    ] = 365,
    as_json: AsJson = False,
) -> None:
    """Issue the certificate, or take the one that was issued, as client.crt."""


@app.command()
@implemented
def stage(folder: Folder, catalogue: Catalogue = None, as_json: AsJson = False) -> None:
    """Add consumer and grants to the catalogue, staged: they give no access yet.

    Nothing is written unless they would give it once they are active.
    """


@app.command()
@implemented
def check(
    folder: Folder,
    key: Key = None,
    question: Question = None,
    method: OneMethod = None,
    address: Address = None,
    ca_certificates: Authorities = None,
    catalogue: Catalogue = None,
    as_json: AsJson = False,
) -> None:
    """Explain each method, and call one with the new certificate: run it where the consumer keeps its key.

    A staged grant must be refused as NOT_GRANTED, an active one answered with a valid receipt. Exit 0: so it is; 1: it
    is not; 21: nobody answered.
    """


@app.command()
@implemented
def activate(folder: Folder, catalogue: Catalogue = None, as_json: AsJson = False) -> None:
    """Make the staged grants active from today on."""


@app.command()
@implemented
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Show the request, the steps that were taken, and the next one."""
