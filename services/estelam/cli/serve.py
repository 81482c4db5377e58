"""Start of a service from the command line."""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import typer

from estelam.cli import output
from estelam.core.settings import ServingSettings, load_settings
from estelam.server import supervisor

S = TypeVar("S", bound=ServingSettings)


def run(
    kind: type[S],
    main: Callable[[Callable[[], S], Path | None], None],
    *,
    listen: str | None,
    port_file: Path | None,
    workers: int,
    as_json: bool,
) -> None:
    """Serve until SIGTERM; where it can't start, print why on one line and exit 1."""
    with service_errors(as_json=as_json):
        supervisor.serve(main, partial(load_settings, kind, listen=listen), workers, port_file)


@contextlib.contextmanager
def service_errors(*, as_json: bool) -> Iterator[None]:
    """Handle errors as `output.user_errors` does, but print an unexpected one in full, as a service's log needs it."""
    try:
        with output.user_errors(as_json=as_json):
            yield
    except typer.Exit:
        raise
    except Exception:  # noqa: BLE001 - printed in full
        traceback.print_exc()
        raise typer.Exit(output.EXIT_FAILED) from None
