"""Load a file from the command line: coverage options, progress and result."""

import contextlib
from datetime import date
from pathlib import Path

import typer

from estelam.cli import output
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.settings import StoreSettings, load_settings
from estelam.loading.feed import CoverageDeclaration, Feed, LoadResult
from estelam.loading.load import load
from estelam.storage.store import AccessMode, Store


def declaration(since: str | None, through: str | None, *, as_json: bool) -> CoverageDeclaration:
    """Return the coverage that the options declare; where a date is wrong print that and exit."""
    now = Clock().now()
    first = last = None
    if since is not None:
        first = output.parse_option("--since", since, lambda text: dates.parse_since(text, now), as_json=as_json)
    if through is not None:
        last = output.parse_option("--through", through, lambda text: dates.parse_instant(text, now), as_json=as_json)
    return CoverageDeclaration(since=first, through=last)


def load_file(
    kind: type[StoreSettings],
    feed: Feed,
    file: Path,
    *,
    first_date: date,
    rejects: Path | None,
    as_json: bool,
    since: str | None = None,
    through: str | None = None,
    replace: bool = False,
) -> None:
    """Load *file*, all of it or nothing; exit 1 where a row was rejected and nothing changed."""
    claimed = declaration(since, through, as_json=as_json)
    with output.user_errors(as_json=as_json):
        settings = load_settings(kind)
    with (
        output.user_errors(as_json=as_json),
        contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store,
        output.progress(f"{file.name}: bytes read", as_json=as_json, total=_size(file)) as show,
    ):

        def show_bytes(read: int) -> None:
            show(read, f"{file.name}: merging" if read >= _size(file) else f"{file.name}: bytes read")

        loaded = load(
            store,
            feed,
            file,
            declaration=claimed,
            first_date=first_date,
            rejects=rejects or file.with_name(f"{file.name}.rejects.csv"),
            clock=Clock(),
            progress=show_bytes,
            replace=replace,
        )
    _report(loaded, as_json=as_json)


def _size(file: Path) -> int:
    return file.stat().st_size


def _report(loaded: LoadResult, *, as_json: bool) -> None:
    if loaded.rejected:
        facts = {"loaded": 0, "rejected": loaded.rejected, "rejects": str(loaded.rejects)}
        output.print_record(facts | {"changed": "nothing"}, as_json=as_json)
        raise typer.Exit(output.EXIT_FAILED)
    output.print_record({"loaded": loaded.rows, "rejected": 0, "load": loaded.number}, as_json=as_json)
