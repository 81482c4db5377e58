"""`estelam quality`: monthly reports, planned outages, the monitor and the quality store."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Listen, PortFile, RetiredKeys
from quality.outages import cli as outage
from quality.witness import cli as witness

app = typer.Typer(no_args_is_help=True)
app.add_typer(outage.app, name="outage")
app.add_typer(witness.app, name="witness")
implemented = implemented_in("quality.commands")


@app.command()
@implemented
def serve(listen: Listen = None, port_file: PortFile = None, as_json: AsJson = False) -> None:
    """Monitor all services until SIGTERM: probe each every minute, and collect ledgers and metrics."""


@app.command()
@implemented
def check(as_json: AsJson = False) -> None:
    """Validate rules, agreements and the monitor's settings. Exit 0: all are valid; 1: one is not."""


@app.command()
@implemented
def report(
    month: Annotated[
        str,
        typer.Option(metavar="YYYY-MM", help="The Jalali month, as 1405-08.", autocompletion=complete.months),
    ],
    audience: Annotated[
        list[str],
        typer.Option(
            "--for",
            help="The reader: working-group, provider:NAME or consumer:NAME; may be repeated.",
            autocompletion=complete.audiences,
        ),
    ],
    pdf: Annotated[bool, typer.Option("--pdf", help="Write the pages as PDF too; needs the extra `pdf`.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace final reports that were issued already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write monthly reports: pages in Persian and English, CSV, JSON, and their signature."""


@app.command()
@implemented
def agreement(
    number: Annotated[str, typer.Argument(help="The agreement's number in the catalogue, as S01.")],
    as_json: AsJson = False,
) -> None:
    """Print a service level agreement in Persian (Markdown) for signature, with the signatures in the catalogue.

    Who has signed is kept in agreements.yaml of the catalogue, under `signatures`.
    """


@app.command()
@implemented
def collect(as_json: AsJson = False) -> None:
    """Collect the new entries of every ledger in the settings; run it every minute, and before a report."""


@app.command()
@implemented
def verify(
    folder: Annotated[Path, typer.Argument(help="The report's folder.", autocompletion=complete.files)],
    certificate: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of signing certificates (PEM); may be repeated. Default: the settings.",
            autocompletion=complete.files,
        ),
    ] = None,
    retired_keys: RetiredKeys = None,
    as_json: AsJson = False,
) -> None:
    """Verify a report's signature.

    Exit 0: all files are as signed by a valid key; 1: INVALID; 2: MALFORMED, the signature is missing or damaged; 21:
    NOT CHECKED, no certificate is of the signing key at the time of the report, or the key was compromised.
    """
