"""Merge the staged rows of a file into the stored facts, in SQL."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Index,
    Select,
    Subquery,
    Table,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from estelam.core.clock import CLOCK_TOLERANCE, to_micros
from estelam.core.parties import Parties
from estelam.loading.feed import Changes, Declaration, Feed
from estelam.loading.rejects import Reject
from estelam.loading.staging import Source, Staging
from estelam.storage.facts import former_subject_table, load_table, removed_record_table

# If more than this share of the rows changes, indexes are rebuilt, since updating them row by row would be slower, and
# PostgreSQL's statistics are made anew, which takes a second in a large table. Below it, autovacuum keeps them.
_LARGE_SHARE = 0.1


class Merge:
    """The merge step of one load, with the store-wide *number*, of a file of *feed* as *declared*."""

    def __init__(
        self, connection: Connection, feed: Feed, declared: Declaration, staging: Staging, *, number: int
    ) -> None:
        self._connection = connection
        self._feed = feed
        self._declared = declared
        self._staging = staging
        self._number = number
        self.table_is_empty = connection.execute(select(feed.table.c.load_number).limit(1)).first() is None
        """Whether the table has no rows yet, so that all can be copied into it, as long as they are valid."""

    def copy_directly(self, source: Source) -> Changes | None:
        """Copy the rows of *source* into the table, which is empty; return None if rows conflict with each other."""
        try:
            with self._rebuilding(self._feed.table.indexes):
                self._staging.copy_to_table(source, self._number)
        except IntegrityError:
            return None
        # Without statistics, the first look-ups would scan the whole table.
        self._staging.analyze(self._feed.table)
        if self._inconsistent_values(self._feed.table):
            return None
        return Changes(added=self._staging.count, changed=0, unchanged=0, removed=0)

    def conflicts(self, taken_feed: str | None, now: datetime) -> list[Reject]:
        """Return the rows that conflict with other rows of the file, or with what other feeds have delivered.

        They are duplicates, inconsistent rows, rows of records of another feed than *taken_feed*, and rows of records
        that a newer file of another feed has removed.
        """
        found = {reject.row: reject for reject in self._removed_rows(now)}
        found |= {reject.row: reject for reject in self._rows_of_other_feeds(taken_feed)}
        found |= {reject.row: reject for reject in self._inconsistent_rows()}
        if not self._staging.unique:
            found |= {reject.row: reject for reject in self._duplicates()}
        return sorted(found.values())

    def take_over(self, feed: str) -> int:
        """Make those records of *feed* that are in the file records of the file's feed; return the number of rows."""
        table, rows, record = self._feed.table, self._staging.rows, self._feed.key[0]
        taken = and_(_is_of_loads(table, load_table.c.feed == feed), table.c[record].in_(select(rows.c[record])))
        return self._connection.execute(update(table).where(taken).values(load_number=self._number)).rowcount

    def compare(self) -> Changes:
        """Compare the staged rows with the stored ones, and return what `run` changes."""
        self._find_differences()
        return self._count_differences()

    def run(self) -> None:
        """Merge the staged rows into the table, after `compare`."""
        if self._declared.whole and not self._feed.full_snapshot:
            self._record_removed()
        changes_much = self._changes_much()
        with self._rebuilding(self._indexes_to_rebuild() if changes_much else ()):
            self._delete_stale()
            self._insert(
                self._rows_of(self._staging.rows).where(
                    self._staging.rows.c.row.in_(select(self._staging.changed.c.row))
                )
            )
            self._insert(self._rows_of(self._staging.kept))
        if changes_much:
            self._staging.analyze(self._feed.table)

    def has_rows_of_feed(self, number: float) -> bool:
        """Return whether at least *number* rows of the file's feed are stored, those that it takes over apart.

        The cost is that of reading so many.
        """
        return number <= 0 or self._has_stored_rows(number, self.is_of_feed)

    @property
    def rows_of_feed(self) -> int:
        """The number of stored rows of the file's feed, those that it takes over apart; counting reads an index."""
        return self._count(self._feed.table, self.is_of_feed)

    @property
    def is_of_feed(self) -> ColumnElement[bool]:
        """The condition that a stored row is of the file's feed, which has delivered its record."""
        return _is_of_loads(self._feed.table, load_table.c.feed == self._declared.feed)

    def _has_stored_rows(self, number: float, *conditions: ColumnElement[bool]) -> bool:
        some = select(literal(1)).select_from(self._feed.table).where(*conditions).limit(math.ceil(number)).subquery()
        return self._count(some) >= number

    @property
    def _merges_parties(self) -> bool:
        """Whether stored rows of the file's records that the file lacks are kept."""
        return self._feed.parties(self._declared) is Parties.MERGED

    @contextmanager
    def _rebuilding(self, indexes: Iterable[Index]) -> Iterator[None]:
        """Drop *indexes* and create them again afterwards."""
        for index in indexes:
            index.drop(self._connection)
        yield
        self._staging.prepare_sorting()
        for index in indexes:
            index.create(self._connection)

    def _rows_of(self, rows: Table) -> Select[Any]:
        return select(*(rows.c[name] for name in self._feed.columns), literal(self._number))

    def _insert(self, rows: Select[Any]) -> None:
        self._connection.execute(insert(self._feed.table).from_select([*self._feed.columns, "load_number"], rows))

    def _duplicates(self) -> Iterator[Reject]:
        rows = self._staging.rows
        keys = [rows.c[name] for name in self._feed.key]
        occurrence = func.row_number().over(partition_by=keys, order_by=rows.c.row).label("occurrence")
        numbered = select(rows.c.row, occurrence).subquery()
        query = select(numbered.c.row).where(numbered.c.occurrence > 1).order_by(numbered.c.row)
        for row in self._connection.execute(query).scalars():
            yield Reject(row, self._feed.key[0], "DUPLICATE")

    def _rows_of_other_feeds(self, taken_feed: str | None) -> Iterator[Reject]:
        """Yield the rows of records that another feed than the file's and *taken_feed* has delivered."""
        own = (self._declared.feed, taken_feed or self._declared.feed, *self._feed.other_kinds)
        is_of_other = load_table.c.feed.not_in(own)
        if self.table_is_empty or not self._connection.execute(select(exists().where(is_of_other))).scalar():
            return
        table, rows, record = self._feed.table, self._staging.rows, self._feed.key[0]
        stored = exists().where(table.c[record] == rows.c[record], _is_of_loads(table, is_of_other)).correlate(rows)
        for row in self._connection.execute(select(rows.c.row).where(stored).order_by(rows.c.row)).scalars():
            yield Reject(row, record, "OTHER_FEED")

    def _removed_rows(self, now: datetime) -> Iterator[Reject]:
        """Yield the rows of records that a whole file of another feed, cut later than this one, no longer had.

        A cut-off after *now*, which a wrong clock has let in, says nothing of the order.
        """
        rows, record = self._staging.rows, self._feed.key[0]
        newer = select(load_table.c.number).where(
            load_table.c.removed > 0,
            load_table.c.feed.not_in((self._declared.feed, *self._feed.full_snapshot_kinds)),
            load_table.c.cut_at_micros > to_micros(self._declared.cut_at),
            load_table.c.cut_at_micros <= to_micros(now + CLOCK_TOLERANCE),
        )
        numbers = self._connection.execute(newer).scalars().all()
        if self._feed.full_snapshot or not numbers:
            return
        removed = select(removed_record_table.c.record).where(removed_record_table.c.load_number.in_(numbers))
        query = select(rows.c.row).where(rows.c[record].in_(removed)).order_by(rows.c.row)
        for row in self._connection.execute(query).scalars():
            yield Reject(row, record, "REMOVED_BY_A_NEWER_FILE")

    def _inconsistent_rows(self) -> Iterator[Reject]:
        """Yield the rows that differ from the first row with the same value in the first key column."""
        if values := self._inconsistent_values(self._staging.rows):
            yield from self._differing_rows(values)

    def _inconsistent_values(self, rows: Table) -> Sequence[str]:
        """Return the values of the first key column whose rows differ in a column that must be consistent."""
        if not self._feed.consistent or self._staging.ascending:
            return ()
        shared = rows.c[self._feed.key[0]]
        several = select(shared).group_by(shared).having(func.count() > 1).subquery()
        texts = [func.coalesce(cast(rows.c[name], Text), "") for name in self._feed.consistent]
        inconsistent = (
            select(shared)
            .join(several, several.c[shared.name] == shared)
            .group_by(shared)
            .having(or_(*(func.min(each) != func.max(each) for each in texts)))
        )
        return self._connection.execute(inconsistent).scalars().all()

    def _differing_rows(self, values: Sequence[str]) -> Iterator[Reject]:
        rows, shared = self._staging.rows, self._feed.key[0]
        query = select(rows).where(rows.c[shared].in_(values)).order_by(rows.c.row)
        first: dict[str, list[object]] = {}
        for row in self._connection.execute(query).mappings():
            content = [row[name] for name in self._feed.consistent]
            if first.setdefault(row[shared], content) != content:
                yield Reject(row["row"], shared, "DIFFERS_FROM_AN_EARLIER_ROW")

    def _find_differences(self) -> None:
        """Fill `stale`, `changed` and `kept`."""
        table, rows, staging = self._feed.table, self._staging.rows, self._staging
        keys = [table.c[name] for name in self._feed.key]
        same = and_(self._same_key(), *(rows.c[name].is_not_distinct_from(table.c[name]) for name in self._values()))
        stale = select(*keys).where(~exists(select(1).select_from(rows).where(same).correlate(table)))
        fresh = select(rows.c.row).where(~exists(select(1).select_from(table).where(same).correlate(rows)))
        self._fill(staging.stale, stale.where(self._is_replaced()))
        self._fill(staging.changed, fresh)
        if self._merges_parties and self._feed.consistent:
            self._fill(staging.kept, self._kept_rows())
            self._fill(staging.stale, select(*(staging.kept.c[name] for name in self._feed.key)))
        staging.analyze(staging.stale, staging.changed)

    def _is_replaced(self) -> ColumnElement[bool]:
        """Return the condition that a stored row is replaced by what the file says, or removed if it says nothing."""
        table, rows, record = self._feed.table, self._staging.rows, self._feed.key[0]
        # By this condition the databases look the records up in an index, instead of reading the whole table.
        in_file = table.c[record].in_(select(rows.c[record]))
        if self._merges_parties:
            return and_(in_file, exists(select(1).select_from(rows).where(self._same_key()).correlate(table)))
        if not self._declared.whole:
            return in_file
        return or_(self.is_of_feed, in_file)

    def _kept_rows(self) -> Select[Any]:
        """Return the stored rows that the file lacks of records that it has with other values in consistent columns.

        They get the file's values.
        """
        table, rows, feed = self._feed.table, self._staging.rows, self._feed
        record = feed.key[0]
        said = select(*(rows.c[name] for name in (record, *feed.consistent))).distinct().subquery()
        differs = or_(*(said.c[name].is_distinct_from(table.c[name]) for name in feed.consistent))
        return (
            select(*((said if name in said.c else table).c[name] for name in feed.columns))
            .join_from(table, said, said.c[record] == table.c[record])
            .where(differs, ~exists(select(1).select_from(rows).where(self._same_key()).correlate(table)))
        )

    def _fill(self, target: Table, rows: Select[Any]) -> None:
        self._connection.execute(insert(target).from_select([column.name for column in rows.selected_columns], rows))

    def _count_differences(self) -> Changes:
        staging, rows, stale = self._staging, self._staging.rows, self._staging.stale
        record = self._feed.key[0]
        in_file = exists(select(1).select_from(rows).where(*(rows.c[n] == stale.c[n] for n in self._feed.key)))
        rewritten, kept = self._count(stale, in_file.correlate(stale)), self._count(staging.kept)
        removed = self._count(stale) - rewritten - kept
        inserted = self._count(staging.changed)
        dropped = self._count(stale, stale.c[record].in_(select(rows.c[record]))) - rewritten - kept if removed else 0
        return Changes(
            added=inserted - rewritten,
            changed=rewritten + kept,
            unchanged=staging.count - inserted,
            removed=removed,
            parties_dropped=dropped,
            cases_of_several_files=self._count(self._records_of_several_files()) if self._merges_parties else 0,
        )

    def _records_of_several_files(self) -> Subquery:
        """Return the records to which the file adds a row, and which keep a stored one that it lacks."""
        table, rows, record = self._feed.table, self._staging.rows, self._feed.key[0]
        stored, kept, said = table.alias(), table.alias(), rows.alias()
        known = exists().where(*(stored.c[name] == rows.c[name] for name in self._feed.key))
        repeated = exists().where(*(said.c[name] == kept.c[name] for name in self._feed.key)).correlate(kept)
        keeps = exists().where(kept.c[record] == rows.c[record], ~repeated)
        added = rows.c.row.in_(select(self._staging.changed.c.row))
        return select(rows.c[record]).where(added, ~known.correlate(rows), keeps.correlate(rows)).distinct().subquery()

    def _values(self) -> list[str]:
        return [name for name in self._feed.columns if name not in self._feed.key]

    def _same_key(self) -> ColumnElement[bool]:
        table, rows = self._feed.table, self._staging.rows
        return and_(*(rows.c[name] == table.c[name] for name in self._feed.key))

    def _changes_much(self) -> bool:
        affected = self._count(self._staging.changed) + self._count(self._staging.stale)
        return not self._has_stored_rows(affected / _LARGE_SHARE + 1)

    def _indexes_to_rebuild(self) -> list[Index]:
        # On PostgreSQL a rebuild blocks running look-ups; on SQLite readers use the old snapshot.
        if self._staging.on_postgresql:
            return []
        appended = {"load_number", self._feed.key[0]}  # Appending at the end of an index is as fast as a rebuild.
        return [index for index in self._feed.table.indexes if index.columns[0].name not in appended]

    def _count(self, rows: FromClause, *conditions: ColumnElement[bool]) -> int:
        return self._connection.execute(select(func.count()).select_from(rows).where(*conditions)).scalar_one()

    def _record_removed(self) -> None:
        """Record the records of which the file has no row."""
        stale, rows, record = self._staging.stale, self._staging.rows, self._feed.key[0]
        # Not NOT IN, which PostgreSQL computes row by row where the file's records do not fit into its memory.
        in_file = exists().where(rows.c[record] == stale.c[record]).correlate(stale)
        gone = select(literal(self._number), stale.c[record]).where(~in_file)
        self._connection.execute(insert(removed_record_table).from_select(["load_number", "record"], gone.distinct()))

    def _delete_stale(self) -> None:
        """Delete the stale rows and record the subjects that they mentioned."""
        table = self._feed.table
        keys = tuple_(*(table.c[name] for name in self._feed.key))
        stale = keys.in_(select(*self._staging.stale.columns))
        for kind, name in self._feed.subjects.items():
            mentioned = (
                select(literal(self._number), literal(kind), table.c[name]).where(stale, table.c[name] != "").distinct()
            )
            insertion = insert(former_subject_table)
            self._connection.execute(insertion.from_select(["load_number", "kind", "value"], mentioned))
        self._connection.execute(delete(table).where(stale))


def _is_of_loads(table: Table, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row of *table* is of a load that meets *condition*."""
    return table.c.load_number.in_(select(load_table.c.number).where(condition))
