"""Records each change of the catalogue in the ledger."""

import threading
from collections.abc import Callable

import structlog

from estelam.auth.authorization import Authorizer
from estelam.catalogue.access_source import AccessSource
from estelam.catalogue.changes import changes, from_notice, recorded_snapshot, snapshot, to_notice
from estelam.catalogue.model import Catalogue
from estelam.core.exceptions import problem
from estelam.ledger import search
from estelam.ledger.writer import LedgerWriter
from estelam.storage.store import Store

log = structlog.get_logger()

CHECK_SECONDS = 1.0


def record_changes(store: Store, ledger: LedgerWriter, catalogue: Catalogue) -> None:
    """Append notices of how *catalogue* differs from its state recorded in the ledger.

    Of several workers, the first records a change; the others find it recorded.

    Raises:
        LedgerCorruptError: a recorded notice is not what the ledger's newest checkpoint covers.
        StoreError, SQLAlchemyError: the ledger can't be read or written.
    """
    with store.transaction() as connection:
        rows = ledger.verified_rows(connection)
        noted = search.catalogue_notices(connection, rows, from_notice, proves_archived=False)
        before = recorded_snapshot(change for _, change in noted)
        found = changes(before, snapshot(catalogue))
        if found:
            ledger.append_at_once(connection, notices=[to_notice(change) for change in found])
    log.info("catalogue.recorded", changes=len(found))


def watch_catalogue(
    authorizer: Authorizer, source: AccessSource, record: Callable[[Catalogue], object], stopping: threading.Event
) -> None:
    """Check the catalogue every second, also without calls, and pass each change to *record* until that succeeds.

    Returns at once for an access table, which belongs to no catalogue; else when *stopping* is set.
    """
    recorded: Catalogue | None = None
    while source.catalogue is not None and not stopping.is_set():
        try:
            authorizer.refresh()
            if (seen := source.catalogue) is not recorded:
                record(seen)
                recorded = seen
        except Exception as error:  # noqa: BLE001 - after any error the change is still to be recorded
            log.error("catalogue.record_failed", error=type(error).__name__, problem=problem(error))
        stopping.wait(CHECK_SECONDS)
