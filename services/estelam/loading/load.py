"""One load of one file, from its first byte to the commit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError

from estelam.core.clock import Clock
from estelam.loading.checks import Check
from estelam.loading.coverage_claims import declare_coverage, reject_coverage_loss, reject_future_claim
from estelam.loading.feed import CoverageDeclaration, Feed, LoadError, LoadResult
from estelam.loading.merge import Merge
from estelam.loading.reader import Batch, batches
from estelam.loading.rejects import Reject, RejectFile
from estelam.loading.staging import STORE_ERRORS, Source, Staging
from estelam.storage import coverage
from estelam.storage.facts import load_table
from estelam.storage.store import Store


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
    except STORE_ERRORS as error:
        raise LoadError(f"the store can't be written: {_fault(error)}; nothing was changed") from error
    finally:
        store.close()  # The connection has carried a load, and may hold on to what was staged.


class _RejectedError(Exception):
    """Ends the transaction of a file with bad rows."""


class _CrookedError(Exception):
    """Ends an attempt to put a file's rows where they belong at once: something is wrong with one of them."""


@dataclass(frozen=True, slots=True)
class LoadJob:
    """What is to be loaded, and how."""

    store: Store
    feed: Feed
    path: Path
    declaration: CoverageDeclaration
    first_date: date
    rejects: Path
    clock: Clock
    progress: Callable[[int], None]
    replace: bool

    def run(self) -> LoadResult:
        """Load in one transaction.

        Raises:
            LoadError: the file can't be taken.
        """
        try:
            return self._attempt(straight=True)
        except _CrookedError:
            # A second reading says what is wrong, and with which row.
            return self._attempt(straight=False)

    def _attempt(self, *, straight: bool) -> LoadResult:
        with RejectFile(self.rejects) as refused:
            try:
                with self.store.transaction() as connection:
                    return self._load(connection, refused, straight=straight)
            except _RejectedError:
                return LoadResult(0, refused.count, self.rejects)

    def _load(self, connection: Connection, refused: RejectFile, *, straight: bool) -> LoadResult:
        reject_future_claim(self.declaration, self.clock.now())
        if not self.replace:
            reject_coverage_loss(connection, self.declaration)
        number = (connection.execute(select(func.max(load_table.c.number))).scalar() or 0) + 1
        staging = Staging(connection, self.feed)
        merge = Merge(connection, self.feed, staging, number=number, whole=self.replace or self.feed.full_snapshot)
        if straight and merge.can_copy_directly:
            if not merge.copy_directly(self._sound(refused, straight=True)):
                raise _CrookedError
        else:
            staging.fill(self._sound(refused, straight=False), keyed=not merge.table_is_empty)
            refused.add(merge.conflicts())
            if refused.count:
                raise _RejectedError
            merge.run()
        if merge.full_snapshot and not staging.count:
            raise LoadError(f"{self.path}: holds no row; an empty register is not taken for the whole one")
        declare_coverage(connection, self.declaration, self.first_date)
        self._record(connection, number, staging.count)
        return LoadResult(staging.count, 0, None, number)

    def _sound(self, refused: RejectFile, *, straight: bool) -> Source:
        for batch in batches(self.path, self.feed.columns):
            numbers, texts, found = apply_checks(batch, self.feed.checks)
            if found and straight:
                raise _CrookedError
            refused.add(found)
            yield numbers, texts
            self.progress(batch.read)

    def _record(self, connection: Connection, number: int, rows: int) -> None:
        covered = coverage.read_coverage(connection)
        load = {
            "number": number,
            "file": self.path.name,
            "rows": rows,
            "loaded_at_micros": self.clock.micros(),
            "covered_since": covered.since if covered else self.first_date,
        }
        connection.execute(insert(load_table).values(load))


def apply_checks(batch: Batch, checks: Sequence[Check]) -> tuple[Any, dict[str, Any], list[Reject]]:
    """Numbers and texts of the rows that keep all *checks*, and what was refused, in the order of the file."""
    bad: dict[int, Reject] = {}
    for check in checks:
        doubtful = check.suspect(batch.columns)
        for place in pc.indices_nonzero(doubtful).to_pylist() if pc.any(doubtful).as_py() else ():
            if place not in bad and (reason := check.reason(batch.columns, place)):
                bad[place] = Reject(batch.numbers[place].as_py(), check.column, reason)
    if not bad:
        return batch.numbers, batch.columns, batch.rejects
    kept = pa.array([place not in bad for place in range(len(batch.numbers))], pa.bool_())
    texts = {name: column.filter(kept) for name, column in batch.columns.items()}
    return batch.numbers.filter(kept), texts, sorted([*batch.rejects, *bad.values()])


def _fault(error: Exception) -> str:
    # What PostgreSQL says may quote a row; SQLite's words are constant.
    fault = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(fault, "sqlstate", None) or fault)
