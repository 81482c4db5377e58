"""Loading a file from the command line: options, progress, and what is said at the end."""

import contextlib
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from estelam import folding
from estelam.cli import output
from estelam.clock import Clock
from estelam.loading import Declaration, Feed, Loaded, load
from estelam.settings import StoreSettings
from estelam.store import Mode, Store

File = Annotated[Path, typer.Argument(help="A CSV file: UTF-8, its header named as the columns.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="The data is now complete from DATE on; 1399-01-01 is Jalali."),
]
Through = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="The feed is loaded up to INSTANT (ISO 8601, or: now).")
]
Rejects = Annotated[Path | None, typer.Option(metavar="FILE", help="Where bad rows go; default: FILE.rejects.csv")]


def declaration(since: str | None, through: str | None, *, as_json: bool) -> Declaration:
    """What the options claim of the data."""
    try:
        return Declaration(
            since=folding.day(since) if since else None,
            through=folding.instant(through, Clock().now()) if through else None,
        )
    except ValueError as error:
        output.fail(f"--since or --through: {error}", as_json=as_json)


def load_file(
    settings: StoreSettings,
    feed: Feed,
    file: Path,
    *,
    claimed: Declaration,
    first_date: date,
    rejects: Path | None,
    as_json: bool,
) -> None:
    """Load *file* with a progress bar; exit 1 where it changed nothing."""
    with (
        output.plain_failures(as_json=as_json),
        contextlib.closing(Store(settings.store, facts=Mode.WRITE)) as store,
        Progress(console=output.err, transient=True, disable=as_json) as bar,
    ):
        task = bar.add_task(file.name, total=file.stat().st_size)
        loaded = load(
            store,
            feed,
            file,
            declaration=claimed,
            first_date=first_date,
            rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
            clock=Clock(),
            progress=lambda done: bar.update(task, completed=done),
        )
    _report(loaded, as_json=as_json)


def _report(loaded: Loaded, *, as_json: bool) -> None:
    if loaded.rejected:
        facts = {"loaded": 0, "rejected": loaded.rejected, "rejects": str(loaded.rejects)}
        output.say(facts | {"changed": "nothing"}, as_json=as_json)
        raise typer.Exit(output.EXIT_FAILED)
    output.say({"loaded": loaded.rows, "rejected": 0}, as_json=as_json)
