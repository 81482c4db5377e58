"""`estelam load`: write the manifest of a data file, and list the loads of a store."""

from pathlib import Path
from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.load_options import CUT_AT_HELP, PartiesOption, Since, TrackingSince
from estelam.cli.options import AsJson, File, Service, whole_number

app = typer.Typer(no_args_is_help=True)


@app.command("manifest")
@implemented_in("estelam.cli.manifest")
def write_manifest(
    file: File,
    feed: Annotated[str, typer.Option(metavar="NAME", help="The name of the feed.")],
    number: Annotated[
        int, typer.Option(parser=whole_number(1), metavar="N", help="The file's number in the feed, without gaps.")
    ],
    cut_at: Annotated[str, typer.Option(metavar="INSTANT", help=CUT_AT_HELP)],
    whole: Annotated[
        bool, typer.Option("--whole", help="The file has all rows of the feed; else those that have changed.")
    ] = False,
    since: Since = None,
    tracking_since: TrackingSince = None,
    parties: PartiesOption = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Sign the manifest with this Ed25519 key (PEM).", autocompletion=complete.files
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write FILE.manifest.json: which file of which feed FILE is, when it was cut, its rows and its SHA-256."""


@app.command("list")
@implemented_in("estelam.cli.commands.load")
def list_loads(
    service: Service,
    feed: Annotated[str | None, typer.Option(metavar="NAME", help="Only the loads of this feed.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the loads of a service's store, the newest first."""
