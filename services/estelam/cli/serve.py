"""Serving from the command line: the options that every service's `serve` takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from estelam.cli import output
from estelam.core.settings import ServingSettings, load_settings
from estelam.server import supervisor

Listen = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where to listen.")]
PortFile = Annotated[Path | None, typer.Option(help="Write the bound port here once listening.")]
Workers = Annotated[int, typer.Option(min=1, help="How many processes share the port; more than one: PostgreSQL only.")]

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
    """Serve until SIGTERM; what keeps it from starting is said in one plain line."""
    with output.user_errors(as_json=as_json):
        supervisor.serve(main, load_settings(kind, listen=listen), workers, port_file)
