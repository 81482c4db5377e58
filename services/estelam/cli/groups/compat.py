"""`estelam compat`: check a release for backward compatibility, and add it to the published baseline."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, Catalogue

app = typer.Typer(no_args_is_help=True)
implemented = implemented_in("estelam.cli.commands.compat")

Register = Annotated[
    Path,
    typer.Option("--published", metavar="FILE", help="The published baseline.", autocompletion=complete.files),
]
On = Annotated[str | None, typer.Option("--on", metavar="DAY", help="The day of the release; default: today in Iran.")]
PUBLISHED = Path("protos/published.txt")


@app.command()
@implemented
def check(catalogue: Catalogue = None, published: Register = PUBLISHED, on: On = None, as_json: AsJson = False) -> None:
    """Check a release against the published baseline. Exit 0: compatible; 1: it breaks a rule; 21: unreadable."""


@app.command()
@implemented
def publish(
    catalogue: Catalogue = None, published: Register = PUBLISHED, on: On = None, as_json: AsJson = False
) -> None:
    """Check a release, and add it to the published baseline: from then on callers may rely on it."""
