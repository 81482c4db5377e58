"""`estelam changes`: learn which of one's own answers have changed."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.inquiry_options import REQUIRED, Options, inquiry
from estelam.cli.options import Certificates, RetiredKeys, check_installed, number

app = typer.Typer(no_args_is_help=True)


@app.command()
@inquiry("", REQUIRED, without=("save_receipt", "force", "inquiry_id", "case_reference"))
@implemented_in("estelam.cli.commands.changes")
def follow(
    service: Annotated[
        str,
        typer.Option(
            metavar="SERVICE",
            help="The service that gave the answers.",
            autocompletion=complete.stores,
            callback=check_installed,
        ),
    ],
    cursor_file: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Where the last run ended; made if it is missing.", autocompletion=complete.files
        ),
    ],
    options: Options,
    every: Annotated[
        float, typer.Option(parser=number(1), metavar="SECONDS", help="Seconds between two questions.")
    ] = 60.0,
    once: Annotated[bool, typer.Option("--once", help="End once no further change is known.")] = False,
    certificate: Certificates = None,
    retired_keys: RetiredKeys = None,
) -> None:
    """Print each change of an answer that the service gave to this organisation, as one line.

    What an earlier run with the same FILE printed is not printed again; after a crash its last lines may be. Where an
    answer changed twice, the later line holds. With --json each line is a JSON object.

    Without --once it asks on until it is stopped, also after a failure that may pass.

    Exit 0: stopped by a signal, or with --once: no further change is known as of the instant on stderr; 20: refused;
    21: nobody answers, or the reply is not proven; 1: a file can't be read or written.
    """
