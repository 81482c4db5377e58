"""Loading a file from the command line: what the options claim, progress, and what is said at the end."""

import contextlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import typer
from rich.progress import Progress

from estelam.cli import output
from estelam.core import normalize
from estelam.core.clock import Clock
from estelam.core.settings import StoreSettings
from estelam.loading.feed import CoverageDeclaration, Feed, LoadResult
from estelam.loading.load import load
from estelam.storage.store import AccessMode, Store


def declaration(since: str | None, through: str | None, *, as_json: bool) -> CoverageDeclaration:
    """What the options claim of the data."""
    try:
        return CoverageDeclaration(
            since=normalize.parse_date(since) if since else None,
            through=normalize.parse_instant(through, Clock().now()) if through else None,
        )
    except ValueError as error:
        output.exit_error(f"--since or --through: {error}", as_json=as_json)


def load_file(
    settings: StoreSettings,
    feed: Feed,
    file: Path,
    *,
    claimed: CoverageDeclaration,
    first_date: date,
    rejects: Path | None,
    as_json: bool,
    replace: bool = False,
) -> None:
    """Load *file* with a progress bar; exit 1 where it changed nothing."""
    with (
        output.user_errors(as_json=as_json),
        contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store,
        Progress(console=output.err, transient=True, disable=as_json) as bar,
    ):
        loaded = load(
            store,
            feed,
            file,
            declaration=claimed,
            first_date=first_date,
            rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
            clock=Clock(),
            progress=_shown(bar, file),
            replace=replace,
        )
    _report(loaded, as_json=as_json)


def _shown(bar: Progress, file: Path) -> Callable[[int], None]:
    """What shows bytes read, and then that the rows are being merged."""
    size = file.stat().st_size
    reading = bar.add_task(file.name, total=size)

    def show(read: int) -> None:
        bar.update(reading, completed=read)
        if read >= size:
            bar.update(reading, description=f"{file.name}: merging", total=None)

    return show


def _report(loaded: LoadResult, *, as_json: bool) -> None:
    if loaded.rejected:
        facts = {"loaded": 0, "rejected": loaded.rejected, "rejects": str(loaded.rejects)}
        output.print_record(facts | {"changed": "nothing"}, as_json=as_json)
        raise typer.Exit(output.EXIT_FAILED)
    output.print_record({"loaded": loaded.rows, "rejected": 0, "load": loaded.number}, as_json=as_json)
