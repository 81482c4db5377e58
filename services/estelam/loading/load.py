"""Load one file: read, check, stage, merge, declare coverage and commit, in one transaction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError

from estelam.core.clock import Clock
from estelam.core.exceptions import describe_error
from estelam.loading.batch import Batch
from estelam.loading.coverage_claims import declare_coverage, reject_coverage_loss, reject_future_claim
from estelam.loading.feed import CoverageDeclaration, Feed, LoadError, LoadResult
from estelam.loading.formats import true_indices
from estelam.loading.merge import Merge
from estelam.loading.reader import add_lines, batches
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

    Rows that are stored with the same values are not touched, so loading a file twice changes nothing the second time.
    A file with an invalid row changes nothing either; its invalid rows are written to the file *rejects*.

    Args:
        store: The store, with write access to the facts. It is closed afterwards.
        feed: The kind of file.
        path: The CSV or Parquet file.
        declaration: The coverage that the operator declares.
        first_date: The beginning of coverage if none was declared before.
        rejects: Where rejected rows are written.
        clock: The time of the load.
        progress: Called with the number of bytes read so far.
        replace: Treat the file as a full snapshot: delete stored rows that it lacks, and allow less coverage.

    Raises:
        LoadError: the file or its header can't be read, it would reduce coverage, or the store can't be written.
    """
    job = LoadJob(store, feed, path, declaration, first_date, rejects, clock, progress, replace)
    try:
        return job.run()
    except STORE_ERRORS as error:
        raise LoadError(f"the store can't be written: {_constant_text(error)}; nothing was changed") from error
    finally:
        store.close()  # The connection may still hold the staging tables.


class _RejectedError(Exception):
    """Rolls back the transaction of a file with invalid rows."""


class _DirectCopyFailedError(Exception):
    """Rolls back a direct copy: a row is invalid, or rows conflict."""


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One load; the attributes are the arguments of `load`."""

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
        """Load the file in one transaction.

        Raises:
            LoadError: the file can't be loaded.
        """
        try:
            return self._attempt(direct_copy=True)
        except _DirectCopyFailedError:
            # The second attempt stages the rows, to find the invalid ones.
            return self._attempt(direct_copy=False)

    def _attempt(self, *, direct_copy: bool) -> LoadResult:
        with RejectFile(self.rejects) as rejects:
            try:
                with self.store.transaction() as connection:
                    return self._load(connection, rejects, direct_copy=direct_copy)
            except _RejectedError:
                return LoadResult(0, rejects.count, self.rejects)

    def _load(self, connection: Connection, rejects: RejectFile, *, direct_copy: bool) -> LoadResult:
        reject_future_claim(self.declaration, self.clock.now())
        if not self.replace:
            reject_coverage_loss(connection, self.declaration)
        number = (connection.execute(select(func.max(load_table.c.number))).scalar() or 0) + 1
        staging = Staging(connection, self.feed)
        merge = Merge(
            connection, self.feed, staging, number=number, full_snapshot=self.replace or self.feed.full_snapshot
        )
        if direct_copy and merge.can_copy_directly:
            if not merge.copy_directly(self._valid_rows(rejects, direct_copy=True)):
                raise _DirectCopyFailedError
        else:
            staging.fill(self._valid_rows(rejects, direct_copy=False), keyed=not merge.table_is_empty)
            rejects.add(add_lines(merge.conflicts(), self._batches()))
            if rejects.count:
                raise _RejectedError
            merge.run()
        if merge.full_snapshot and not staging.count:
            raise LoadError(f"{self.path}: holds no row; an empty file is not accepted as a full snapshot")
        declare_coverage(connection, self.declaration, self.first_date, self.feed.name)
        self._record(connection, number, whole=merge.full_snapshot, rows=staging.count)
        return LoadResult(staging.count, 0, None, number)

    def _batches(self) -> Iterator[Batch]:
        return batches(self.path, self.feed.columns, self.feed.ignored)

    def _valid_rows(self, rejects: RejectFile, *, direct_copy: bool) -> Source:
        now = self.clock.now()
        for batch in self._batches():
            numbers, columns, failed = apply_checks(batch, self.feed, now)
            if failed and direct_copy:
                raise _DirectCopyFailedError
            rejects.add(failed)
            yield numbers, columns
            self.progress(batch.read)

    def _record(self, connection: Connection, number: int, *, whole: bool, rows: int) -> None:
        covered = coverage.read_coverage(connection)
        numbers = select(func.max(load_table.c.feed_number)).where(load_table.c.feed == self.feed.name)
        load = {
            "number": number,
            "feed": self.feed.name,
            "feed_number": (connection.execute(numbers).scalar() or 0) + 1,
            "whole": whole,
            "file": self.path.name,
            "rows": rows,
            "loaded_at_micros": self.clock.micros(),
            "covered_since": covered.since if covered else self.first_date,
        }
        connection.execute(insert(load_table).values(load))


def apply_checks(batch: Batch, feed: Feed, now: datetime) -> tuple[Any, dict[str, Any], list[Reject]]:
    """Return row numbers and normalized columns of the valid rows, and all rejects in the order of the file."""
    failed: dict[int, Reject] = {}
    columns = {}

    def fail(index: int, column: str, reason: str) -> None:
        if index not in failed:
            failed[index] = batch.reject(batch.numbers[index].as_py(), column, reason)

    for name, column_format in feed.columns.items():
        columns[name], reasons = column_format.read(batch.columns[name], now)
        for index, reason in reasons.items():
            fail(index, name, reason)
    for check in feed.checks:
        for index in true_indices(check.failed(columns)):
            fail(index, check.column, check.reason)
    if not failed:
        return batch.numbers, columns, batch.rejects
    passed = pa.array([index not in failed for index in range(len(batch.numbers))], pa.bool_())
    columns = {name: column.filter(passed) for name, column in columns.items()}
    return batch.numbers.filter(passed), columns, sorted([*batch.rejects, *failed.values()])


def _constant_text(error: Exception) -> str:
    # PostgreSQL's messages may quote a row, so only their code is shown; SQLite's messages are constant.
    if isinstance(error, OSError):
        return describe_error(error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or cause)
