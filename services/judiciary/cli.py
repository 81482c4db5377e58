"""`estelam judiciary`: serve, load cases, and inquire about them."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete, options
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import Options, inquiry
from estelam.cli.options import AsJson, Certificates, File, Rejects, Replace, RetiredKeys, Since, Through

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("judiciary.commands")

app.command()(implemented(options.serve))


@app.command()
@implemented_in("judiciary.loading")
def load_cases(
    file: File,
    since: Since = None,
    through: Through = None,
    rejects: Rejects = None,
    replace: Replace = False,
    as_json: AsJson = False,
) -> None:
    """Load a file of cases and its coverage: all of it, or nothing."""


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
    """Ask whether a case was filed about this cheque (R3.1.2). Exit 0: YES; 10: NO; any other code: no answer."""


@app.command()
@inquiry("judiciary", "cbi", without=("save_receipt", "force"))
@implemented_in("judiciary.bulk.command")
def bulk_check(
    file: Annotated[
        Path,
        typer.Argument(
            help="The list: CSV, UTF-8, with the columns tracking_id and, if known, certificate_issued_on.",
            autocompletion=complete.files,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Write the answers to FILE, a row for each row.", autocompletion=complete.files
        ),
    ],
    options: Options,
    window: Annotated[int, typer.Option(min=1, max=1024, help="Maximum number of concurrent calls.")] = 128,
    patience: Annotated[float, typer.Option(min=1, help="Seconds without any reply before it stops.")] = 30.0,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Stop after 2h, 90m, or at an instant (ISO 8601).")
    ] = None,
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
) -> None:
    """Call CheckByTrackingId for every row of a list; run again with the same files, it resumes.

    The receipts are in OUT.receipts.jsonl. Exit 0: every row is answered; 20: some were refused; 21: the service can't
    be reached, or a receipt is invalid; 22: stopped by a quota, an announced outage, the deadline or Ctrl-C; 1: nothing
    was done.
    """
