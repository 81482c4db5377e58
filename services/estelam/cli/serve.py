"""Options and start of every service's `serve` command."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from estelam.cli import complete, output
from estelam.core.settings import ServingSettings, load_settings
from estelam.server import supervisor

Listen = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Listen on HOST:PORT; default: the settings.")]
PortFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the bound port to FILE once listening.", autocompletion=complete.files),
]
Workers = Annotated[
    int,
    typer.Option(min=1, help="Processes that share the port; more than one needs PostgreSQL."),
]

S = TypeVar("S", bound=ServingSettings)


def run(
    kind: type[S],
    main: Callable[[S, Path | None], None],
    *,
    listen: str | None,
    port_file: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Serve until SIGTERM; where it can't start, print why on one line and exit 1."""
    with output.user_errors(as_json=as_json):
        supervisor.serve(main, load_settings(kind, listen=listen), workers, port_file)
