"""Loading facts from files: streamed, every row checked, all of a file or nothing, coverage in the same commit."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from estelam.core.clock import Clock
from estelam.loading.feed import CoverageDeclaration, Feed, LoadError, LoadResult
from estelam.loading.load import LoadJob
from estelam.loading.staging import FAULTS
from estelam.storage.store import Store

__all__ = ["CoverageDeclaration", "Feed", "LoadError", "LoadResult", "load"]


def load(
    store: Store,
    feed: Feed,
    path: Path,
    *,
    declaration: CoverageDeclaration,
    first_date: date,
    rejects: Path,
    clock: Clock,
    progress: Callable[[int], None],
    replace: bool = False,
) -> LoadResult:
    """Load *path* in one transaction.

    What is on record as the file has it stays untouched, so the same file again changes nothing. A file with any bad
    row changes nothing: each such row is written to *rejects*. *progress* is told bytes read so far. *first_date* is
    what coverage begins with where none was declared before. To *replace* is to take the file for the whole register:
    what it lacks is gone, and coverage may be taken back.

    Raises:
        LoadError: the file or its header can't be read, or would take coverage back; or the store can't be written.
    """
    job = LoadJob(store, feed, path, declaration, first_date, rejects, clock, progress, replace)
    try:
        return job.run()
    except FAULTS as error:
        raise LoadError(f"the store can't be written: {_fault(error)}; nothing was changed") from error
    finally:
        store.close()  # The connection has carried a load, and may hold on to what was staged.


def _fault(error: Exception) -> str:
    # What PostgreSQL says may quote a row; SQLite's words are constant.
    fault = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(fault, "sqlstate", None) or fault)
