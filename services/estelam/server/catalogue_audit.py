"""Noting in the ledger each change of the catalogue that a serving process sees: a change is no rumour."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from estelam.auth.authorization import Authorizer
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.changes import changes, recorded_snapshot, snapshot, to_notice
from estelam.catalogue.model import Catalogue
from estelam.ledger import search
from estelam.ledger.writer import LedgerWriter
from estelam.storage.store import Store

log = structlog.get_logger()

LOOK_SECONDS = 1.0


def record_changes(store: Store, ledger: LedgerWriter, catalogue: Catalogue) -> None:
    """Write down how *catalogue* differs from what the ledger has noted of it so far, whoever noted that.

    Of many workers the first notes a change, and the others find it noted.
    """
    with store.transaction() as connection:
        before = recorded_snapshot(entry.notice for entry in search.catalogue_notices(connection))
        found = changes(before, snapshot(catalogue))
        if found:
            ledger.append_notices(connection, [to_notice(change) for change in found])
    log.info("catalogue.noted", changes=len(found))


async def watch_catalogue(
    authorizer: Authorizer, source: AccessSource, record: Callable[[Catalogue], Awaitable[None]]
) -> None:
    """Look at the catalogue every second, also where nobody asks, and have each change noted, until that succeeds.

    Of a plain table, which is of no catalogue, nothing is noted.
    """
    noted: Catalogue | None = None
    while source.catalogue is not None:
        try:
            authorizer.refresh()
            if (seen := source.catalogue) is not noted:
                await record(seen)
                noted = seen
        except Exception as error:  # noqa: BLE001 - whatever it is, the change is still to be noted
            log.error("catalogue.unnoted", error=type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)
