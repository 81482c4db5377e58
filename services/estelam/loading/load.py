"""Load one file: read, check, stage, merge, declare coverage and commit, in one transaction."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, Table, exists, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from estelam.core.clock import Clock, to_micros
from estelam.core.exceptions import describe_error
from estelam.loading.batch import Batch
from estelam.loading.errors import LoadError
from estelam.loading.feed import Changes, Claims, Declaration, Feed, LoadResult, Policy
from estelam.loading.formats import true_indices
from estelam.loading.manifest import FileIdentity, identify
from estelam.loading.merge import Merge
from estelam.loading.provenance import (
    FileContent,
    check_declaration,
    check_dropped_feeds,
    check_repeated,
    check_take_over,
    claims,
    claims_before,
    columns_before,
    declare_coverage,
    find_load,
    next_number,
)
from estelam.loading.reader import add_lines, batches, present_columns
from estelam.loading.rejects import Reject, RejectFile
from estelam.loading.rounding import RoundingCheck
from estelam.loading.rows_digest import RowsDigest
from estelam.loading.staging import STORE_ERRORS, Source, Staging
from estelam.storage.coverage import Coverage, read_coverage
from estelam.storage.facts import load_table
from estelam.storage.lock_conflicts import is_lock_conflict
from estelam.storage.store import Store

ALWAYS_ALLOWED = 10
"""Rows that a load may change, if it removes none, whatever their share: so that a small store stays usable."""


def load(
    store: Store,
    feed: Feed,
    path: Path,
    *,
    declared: Declaration,
    policy: Policy,
    rejects: Path,
    clock: Clock,
    progress: Callable[[int], None],
) -> LoadResult:
    """Load *path* in one transaction.

    Rows that are stored with the same values are not touched. A file with an invalid row changes nothing; its invalid
    rows are written to the file *rejects*. Nor does a file that was loaded before.

    Args:
        store: The store, with write access to the facts. It is closed afterwards.
        feed: The kind of file.
        path: The CSV or Parquet file.
        declared: What is declared of the file.
        policy: What the load may change.
        rejects: Where rejected rows are written.
        clock: The time of the load.
        progress: Called with the number of bytes read so far.

    Raises:
        LoadError: the file or its header can't be read, it is not the file that is declared or not the next one of its
            feed, it would change more than the policy allows, or the store can't be written.
    """
    job = LoadJob(store, feed, path, declared, policy, rejects, clock, progress)
    try:
        return job.run()
    except LoadError as error:
        raise error.about(path) from error.__cause__
    except STORE_ERRORS as error:
        if is_lock_conflict(error):
            raise LoadError(f"{path}: another load is running; load the file when it has ended") from error
        raise LoadError(f"the store can't be written: {_constant_text(error)}; nothing was changed") from error
    finally:
        store.close()  # The connection may still hold the staging tables.


class _RolledBack(Exception):  # noqa: N818 - not an error
    """Rolls back the transaction of a load that changes nothing, and carries its result."""

    def __init__(self, result: LoadResult) -> None:
        super().__init__()
        self.result = result


class _DirectCopyFailedError(Exception):
    """Rolls back a direct copy: a row is invalid, or rows conflict."""


@dataclass(frozen=True, slots=True)
class LoadJob:
    """One load; the attributes are the arguments of `load`."""

    store: Store
    feed: Feed
    path: Path
    declared: Declaration
    policy: Policy
    rejects: Path
    clock: Clock
    progress: Callable[[int], None]

    def run(self) -> LoadResult:
        """Load the file in one transaction.

        1 identify the file by its SHA-256; 2 check its place in the feed; 3 read, check and stage the rows; 4 compare
        them with the stored rows; 5 check what would change; 6 merge; 7 record the load and derive the coverage.

        Raises:
            LoadError: the file can't be loaded.
        """
        check_declaration(self.feed, self.declared, self.policy.required_feeds, self.clock.now())
        file = self._identify()  # 1
        try:
            return self._attempt(file, direct_copy=not self.policy.dry_run)
        except _DirectCopyFailedError:
            # The second attempt stages the rows, to find the invalid ones.
            return self._attempt(file, direct_copy=False)

    def _identify(self) -> FileIdentity:
        file = identify(self.path)
        if self.declared.sha256 not in {None, file.sha256}:
            raise LoadError(f"{self.path}: is not the file of its manifest: the SHA-256 differs; fetch both again")
        return file

    def _attempt(self, file: FileIdentity, *, direct_copy: bool) -> LoadResult:
        with RejectFile(self.rejects, self.path) as rejects:
            try:
                with self.store.transaction() as connection:
                    return self._load(connection, file, rejects, direct_copy=direct_copy)
            except _RolledBack as ended:
                return ended.result

    def _load(
        self, connection: Connection, file: FileIdentity, rejects: RejectFile, *, direct_copy: bool
    ) -> LoadResult:
        if loaded := find_load(connection, self.feed, self.declared, file.content_sha256):  # 2
            coverage = read_coverage(connection)
            return LoadResult(
                loaded.rows,
                number=loaded.number,
                feed_number=loaded.feed_number,
                coverage=coverage,
                already_loaded=True,
            )
        taken_feed = self.policy.taken_feed
        feed_number = next_number(connection, self.feed, self.declared, file.content_sha256, self.clock.now())
        before = claims_before(connection, self.declared)
        if taken_feed:
            check_take_over(connection, self.feed, self.declared, before, taken_feed)
        declared_dates = claims(before, self.feed, self.declared)
        says_more = declared_dates != before
        optional_columns = self._check_columns(connection)
        number = (connection.execute(select(func.max(load_table.c.number))).scalar() or 0) + 1
        staging = Staging(connection, self.feed)
        merge = Merge(connection, self.feed, self.declared, staging, number=number)
        rounding = RoundingCheck(self.feed.key[0], () if self.policy.allow_round_identifiers else self.feed.identifiers)
        digest = RowsDigest()
        direct_copy = direct_copy and merge.table_is_empty
        rows = self._valid_rows(rejects, rounding, digest, direct_copy=direct_copy)
        copied = merge.copy_directly(rows) if direct_copy else None  # 3, 6
        if direct_copy and not copied:
            raise _DirectCopyFailedError
        if not copied:
            staging.fill(rows, keyed=not merge.table_is_empty)  # 3
        content = FileContent(file.content_sha256, digest.hexdigest(), staging.count)
        read_rows = self.feed.table if copied else staging.rows
        check_repeated(connection, self.feed, self.declared, self.policy, content)
        warnings = rounding.doubtful(connection, read_rows)
        if not copied:
            rejects.add(add_lines(merge.conflicts(taken_feed, self.clock.now()), self._batches()))
        if rejects.count:
            raise _RolledBack(LoadResult(0, rejects.count, self.rejects, rejects.first))
        self._check_file(staging.count, file, says_more=says_more)
        taken = merge.take_over(taken_feed) if taken_feed and not merge.table_is_empty else 0
        changes = copied or replace(merge.compare(), taken_over=taken)  # 4
        deepens = says_more and not self.declared.whole and not merge.table_is_empty
        warnings |= self._warnings(connection, read_rows, declared_dates, merge.is_of_feed if deepens else None)
        self._check_changes(merge, changes)  # 5
        stands = {**declared_dates._asdict(), "optional_columns": " ".join(sorted(optional_columns))}
        if not (copied or self.policy.dry_run):
            merge.run()  # 6
        coverage = self._record(connection, number, feed_number, changes, {**content._asdict(), **stands})  # 7
        result = LoadResult(
            staging.count,
            changes=changes,
            number=number,
            feed_number=feed_number,
            warnings=warnings,
            coverage=coverage,
        )
        if self.policy.dry_run:
            raise _RolledBack(replace(result, number=None))
        return result

    def _warnings(
        self, connection: Connection, rows: Table, declared_dates: Claims, stored: ColumnElement[bool] | None = None
    ) -> dict[str, int]:
        """Return the number of records that each warning is about.

        They are those in *rows*, which are those of the file, and the *stored* ones that the file lacks.
        """
        table, record = self.feed.table, self.feed.key[0]
        counts = {}
        for text, condition in self.feed.warnings.items():
            found = select(rows.c[record]).where(condition(rows.c, declared_dates)).distinct()
            counts[text] = connection.execute(select(func.count()).select_from(found.subquery())).scalar_one()
            if stored is not None:
                others = ~exists().where(rows.c[record] == table.c[record]).correlate(table)
                kept = select(table.c[record]).where(stored, others, condition(table.c, declared_dates)).distinct()
                counts[text] += connection.execute(select(func.count()).select_from(kept.subquery())).scalar_one()
        return counts

    def _batches(self) -> Iterator[Batch]:
        return batches(self.path, self.feed.columns, self.feed.ignored)

    def _valid_rows(
        self, rejects: RejectFile, rounding: RoundingCheck, digest: RowsDigest, *, direct_copy: bool
    ) -> Source:
        now = self.clock.now()
        for batch in self._batches():
            numbers, columns, failed = apply_checks(batch, self.feed, now)
            if failed and direct_copy:
                raise _DirectCopyFailedError
            rejects.add(failed)
            rounding.add(columns)
            digest.add(columns.values())
            yield numbers, columns
            self.progress(batch.read)

    def _check_columns(self, connection: Connection) -> frozenset[str]:
        """Return the optional columns of the file; raise LoadError if it lacks one that an earlier file had."""
        optional = self.feed.optional_columns
        present = optional & present_columns(self.path, self.feed.columns, self.feed.ignored)
        had = columns_before(connection, self.declared.feed, self.policy.taken_feed)
        if missing := (optional & had) - present:
            raise LoadError(
                f"{self.path}: lacks {', '.join(sorted(missing))}, which earlier files of the feed had: stored values "
                "would be lost; deliver the column too, with empty cells where there is no value"
            )
        return present

    def _check_file(self, rows: int, file: FileIdentity, *, says_more: bool) -> None:
        """Raise LoadError if the file can't have so many *rows*, or has changed since it was identified.

        A file without rows *says_more* than its feed has declared before only by mistake.
        """
        if self.declared.rows not in {None, rows}:
            raise LoadError(f"{self.path}: has {rows:,} rows; its manifest says {self.declared.rows:,}")
        if self.declared.whole and not rows:
            raise LoadError(f"{self.path}: holds no row; an empty file is not accepted as a whole one")
        if says_more and not rows:
            raise LoadError(
                f"{self.path}: holds no row; declare the first dates with a file that has rows: the feed's "
                "last such file may be loaded again with them, or the next one"
            )
        if not file.is_unchanged():
            raise LoadError(f"{self.path}: was changed while it was read; load it again")

    def _check_changes(self, merge: Merge, changes: Changes) -> None:
        """Raise LoadError if more rows would be changed or removed than the policy allows."""
        affected = changes.changed + changes.removed
        if affected <= max(self.policy.allow_removals, 0 if changes.removed else ALWAYS_ALLOWED):
            return
        if merge.has_rows_of_feed(affected / self.policy.change_limit - changes.taken_over):
            return
        stored = merge.rows_of_feed + changes.taken_over
        raise LoadError(
            f"{self.path}: would change {changes.changed:,} and remove {changes.removed:,} of {stored:,} "
            f"stored rows of the feed, more than {self.policy.change_limit * 100:g} %; "
            f"if that is right, load it with --allow-removals {affected}"
        )

    def _record(
        self, connection: Connection, number: int, feed_number: int, changes: Changes, found: Mapping[str, Any]
    ) -> Coverage | None:
        """Record the load, with what was *found* of its file and of its feed, and return the coverage that follows.

        Raises:
            LoadError: the coverage would leave out a feed that was loaded.
        """
        load = {
            "number": number,
            "feed": self.declared.feed,
            "feed_number": feed_number,
            "file": self.path.name,
            "cut_at_micros": to_micros(self.declared.cut_at),
            "whole": self.declared.whole,
            "added": changes.added,
            "changed": changes.changed,
            "unchanged": changes.unchanged,
            "removed": changes.removed,
            "loaded_at_micros": self.clock.micros(),
            "parties": self.feed.parties(self.declared),
            "covered_since": self.feed.first_date,
            "taken_feed": self.policy.taken_feed,
            **found,
        }
        connection.execute(insert(load_table).values(load))
        check_dropped_feeds(connection, self.feed, self.policy.required_feeds)
        coverage = declare_coverage(connection, self.policy.required_feeds)
        if coverage:
            since = {"covered_since": coverage.since}
            connection.execute(update(load_table).where(load_table.c.number == number).values(since))
        return coverage


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
