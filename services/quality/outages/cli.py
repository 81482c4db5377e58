"""`estelam quality outage`: announce, list and end planned outages."""

from typing import Annotated

import typer

from estelam.cli import complete
from estelam.cli.deferred import implemented_in
from estelam.cli.options import AsJson, whole_number

app = typer.Typer(help="Announce, list and end planned outages.", no_args_is_help=True)
implemented = implemented_in("quality.outages.commands")


@app.command()
@implemented
def announce(
    service: Annotated[
        str, typer.Option(help="The service's name in the catalogue.", autocompletion=complete.services)
    ],
    first: Annotated[str, typer.Option("--from", metavar="'YYYY-MM-DD HH:MM'", help="Its first minute, in Tehran.")],
    end: Annotated[
        str, typer.Option("--until", metavar="'YYYY-MM-DD HH:MM'", help="The minute after its last, in Tehran.")
    ],
    reason_fa: Annotated[str, typer.Option(help="The reason, in Persian.")],
    reason_en: Annotated[str, typer.Option(help="The reason, in English.")],
    as_json: AsJson = False,
) -> None:
    """Announce an outage; within it the service refuses with OUTAGE_ANNOUNCED and the time of its end."""


@app.command()
@implemented
def end(
    number: Annotated[
        int, typer.Argument(parser=whole_number(1), help="The announcement's number, as `list` prints it.")
    ],
    as_json: AsJson = False,
) -> None:
    """End an outage with the current minute, or withdraw one that has not begun."""


@app.command("list")
@implemented
def listing(
    as_json: AsJson = False,
    everything: Annotated[bool, typer.Option("--all", help="Include those whose announced time is over.")] = False,
) -> None:
    """List the announced outages by number."""
