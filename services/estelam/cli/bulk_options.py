"""The declaration that all bulk checks share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import Options, inquiry
from estelam.cli.options import Certificates, RetiredKeys, number, whole_number

_HELP = """\
{summary}

{columns}

Run again with the same files, it continues. The receipts are in OUT.receipts.jsonl. Exit 0: every row is answered; 20:
some were refused; 21: the service can't be reached, or a receipt is invalid; 22: stopped by a quota, an announced
outage, the deadline, Ctrl-C or answers older than --max-age; 1: nothing was done.
"""


def bulk_check(
    file: Annotated[
        Path,
        typer.Argument(help="The list: CSV in UTF-8 with a header.", autocompletion=complete.files),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Write the answers to FILE, a row for each row.", autocompletion=complete.files
        ),
    ],
    options: Options,
    window: Annotated[
        int, typer.Option(parser=whole_number(1, 1024), metavar="N", help="Maximum number of concurrent calls.")
    ] = 128,
    patience: Annotated[
        float,
        typer.Option(parser=number(1), metavar="SECONDS", help="Seconds without any reply before it stops."),
    ] = 30.0,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Stop after 2h, 90m, or at an instant (ISO 8601).")
    ] = None,
    max_age: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Stop, before asking, at an older answer of an earlier run: 24h, 90m."),
    ] = "24h",
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the answers of earlier runs, whatever their age.")
    ] = False,
    changes: Annotated[
        bool,
        typer.Option("--changes", help="Also state in columns `now` and `now_as_of` what would be answered now."),
    ] = False,
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
) -> None:
    """Ask a question for every row of a list."""


def declare(app: typer.Typer, name: str, service: str, identity: str, module: str, summary: str, columns: str) -> None:
    """Add to *app* the bulk check *name*, which *module* implements.

    Args:
        app: the service's commands.
        name: the command's name.
        service: the service's name in the settings.
        identity: the certificate's name unless --as names another.
        module: the module with the function `bulk_check`.
        summary: one sentence: what is asked.
        columns: one sentence: the columns of the list.
    """
    command: Callable[..., None] = inquiry(service, identity, without=("save_receipt", "force"))(
        implemented_in(module)(bulk_check)
    )
    app.command(name, help=_HELP.format(summary=summary, columns=columns))(command)
