"""The command `estelam load list`."""

import contextlib
from typing import Any

from sqlalchemy import Connection, select

from estelam.cli import output
from estelam.cli.stores import settings_of
from estelam.core.clock import to_datetime
from estelam.core.names import unknown_name
from estelam.storage.facts import load_table
from estelam.storage.store import Store

_COUNTS = ("rows", "added", "changed", "unchanged", "removed")
_ONLY_IN_JSON = {
    *("unchanged", "complete_since", "tracking_since", "covered_since", "optional_columns", "parties", "sha256"),
}
_COLUMNS = (
    *("load", "feed", "number", "kind", "cut_at"),
    *_COUNTS,
    *(
        "loaded_at",
        "complete_since",
        "tracking_since",
        "covered_since",
        "optional_columns",
        "parties",
        "taken_feed",
        "sha256",
        "file",
    ),
)


def list_loads(service: str, *, feed: str | None, as_json: bool) -> None:
    """Print the loads of the store of *service*, of one feed or of all, the newest first."""
    with output.user_errors(as_json=as_json):
        settings = settings_of(service)
        store = Store(settings.store)
        with contextlib.closing(store), store.transaction() as connection:
            loads = _loads(connection, feed)
            if feed and not loads and feed not in settings.feeds:
                stored = connection.scalars(select(load_table.c.feed).distinct())
                raise unknown_name("feed", feed, sorted({*settings.feeds, *stored}))
    columns = [name for name in _COLUMNS if as_json or name not in _ONLY_IN_JSON]
    output.print_rows(columns, [[load[name] for name in columns] for load in loads], as_json=as_json)


def _loads(connection: Connection, feed: str | None) -> list[dict[str, Any]]:
    query = select(load_table).order_by(load_table.c.number.desc())
    if feed is not None:
        query = query.where(load_table.c.feed == feed)
    return [
        {
            **load,
            "load": load["number"],
            "number": load["feed_number"],
            "kind": "whole" if load["whole"] else "delta",
            "cut_at": to_datetime(load["cut_at_micros"]),
            "loaded_at": to_datetime(load["loaded_at_micros"]),
        }
        for load in connection.execute(query).mappings()
    ]
