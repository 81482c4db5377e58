"""The sandbox that `estelam dev` starts in: preparing it again changes nothing."""

from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.core.settings import StoreSettings
from estelam.storage.facts import load_table
from estelam.storage.store import AccessMode, Store


def loads(settings: StoreSettings) -> list[tuple[str, int, int]]:
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        columns = load_table.c.feed, load_table.c.feed_number, load_table.c.rows
        return [tuple(row) for row in connection.execute(select(*columns).order_by(load_table.c.number))]


def age(settings: StoreSettings, by: timedelta) -> None:
    """Let every load have been cut earlier."""
    with closing(Store(settings.store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        earlier = load_table.c.cut_at_micros - by // timedelta(microseconds=1)
        connection.execute(update(load_table).values(cut_at_micros=earlier))


@pytest.mark.parametrize(("hours", "soon_stale"), [(0, False), (11, False), (13, True)])
def test_samples_are_loaded_once(loaded: Sandbox, hours: int, *, soon_stale: bool) -> None:
    """Samples that are loaded use no further number of their feed, unless they are soon stale."""
    for settings in (loaded.judiciary(), loaded.promissory()):
        age(settings, timedelta(hours=hours))
    before = loads(loaded.judiciary()) + loads(loaded.promissory())

    suite.load_samples(loaded)
    suite.load_samples(loaded)

    found = loads(loaded.judiciary()) + loads(loaded.promissory())
    expected = [(feed, 2, 0) for feed in ("cases", "notes")] if soon_stale else []
    assert sorted(found) == sorted(before + expected)
