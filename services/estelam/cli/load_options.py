"""What a command that loads a file is told: options alone, so that its neighbours start without all that loads."""

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(help="CSV (UTF-8, its header named as the columns) or Parquet.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="The data is now complete from DATE on; 1399-01-01 is Jalali."),
]
Through = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="The feed is loaded up to INSTANT (ISO 8601, or: now).")
]
Rejects = Annotated[Path | None, typer.Option(metavar="FILE", help="Where bad rows go; default: FILE.rejects.csv")]

Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="The file is the whole register: what it lacks is gone. Coverage may be taken back."
    ),
]
