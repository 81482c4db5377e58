"""Options of the commands that load a file; apart from `cli.load`, so that other commands start without pyarrow."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete

File = Annotated[
    Path,
    typer.Argument(
        help="CSV (UTF-8, with the columns' names in its header) or Parquet.", autocompletion=complete.files
    ),
]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Declare the data complete from DATE on; 1399-01-01 is Jalali."),
]
Through = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="Declare the feed loaded up to INSTANT (ISO 8601, or: now).")
]
Rejects = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write rejected rows to FILE; default: FILE.rejects.csv", autocompletion=complete.files
    ),
]

Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Take the file as the whole register: remove rows that it lacks. Coverage may shrink."
    ),
]
