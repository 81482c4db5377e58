"""Merge the staged rows of a file into the stored facts, in SQL."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Index,
    Select,
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
)
from sqlalchemy.exc import IntegrityError

from estelam.loading.feed import Feed
from estelam.loading.rejects import Reject
from estelam.loading.staging import Source, Staging
from estelam.storage.facts import former_subject_table

# Indexes are rebuilt if more than this share of the rows changes; below it, updating them row by row is faster.
_REBUILD_SHARE = 0.1


class Merge:
    """The merge step of one load of *feed*; a full snapshot also deletes stored rows that the file lacks."""

    def __init__(
        self, connection: Connection, feed: Feed, staging: Staging, *, number: int, full_snapshot: bool
    ) -> None:
        self._connection = connection
        self._feed = feed
        self._staging = staging
        self._number = number
        self.full_snapshot = full_snapshot
        self.table_is_empty = connection.execute(select(feed.table.c.load_number).limit(1)).first() is None
        """Whether the table has no rows yet, so that nothing must be compared."""

    @property
    def can_copy_directly(self) -> bool:
        """Whether the rows can be copied into the table without staging, as long as all are valid."""
        return self.table_is_empty and self._staging.on_postgresql

    def copy_directly(self, source: Source) -> bool:
        """Copy the rows of *source* into the table; return False if rows conflict with each other."""
        try:
            with self._rebuilding(self._feed.table.indexes):
                self._staging.copy_to_table(source, self._number)
        except IntegrityError:
            return False
        # Without statistics, the first look-ups would scan the whole table.
        self._staging.analyze(self._feed.table)
        return not self._inconsistent_values(self._feed.table)

    def conflicts(self) -> list[Reject]:
        """Return the rows that conflict with other rows of the file: duplicates and inconsistent rows."""
        found = {reject.row: reject for reject in self._inconsistent_rows()}
        if not self._staging.unique:
            found |= {reject.row: reject for reject in self._duplicates()}
        return sorted(found.values())

    def run(self) -> None:
        """Merge the staged rows into the table."""
        if self.table_is_empty:
            self._insert_all()
        else:
            self._compare()
            self._replace()

    def _insert_all(self) -> None:
        ordered = self._feed.key[:1] if self._staging.ascending else ()
        with self._rebuilding(self._indexes_except("load_number", *ordered)):
            self._insert(self._staged_rows())

    def _indexes_except(self, *ordered: str) -> list[Index]:
        """Return the indexes except those on an *ordered* column: appending at their end is as fast as a rebuild."""
        return [index for index in self._feed.table.indexes if index.columns[0].name not in ordered]

    @contextmanager
    def _rebuilding(self, indexes: Iterable[Index]) -> Iterator[None]:
        """Drop *indexes* and create them again afterwards."""
        for index in indexes:
            index.drop(self._connection)
        yield
        for index in indexes:
            index.create(self._connection)

    def _staged_rows(self) -> Select[Any]:
        rows = self._staging.rows
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

    def _compare(self) -> None:
        table, rows = self._feed.table, self._staging.rows
        keys = [table.c[name] for name in self._feed.key]
        same = and_(self._same_key(), *(rows.c[name].is_not_distinct_from(table.c[name]) for name in self._values()))
        stale = select(*keys).where(~exists(select(1).select_from(rows).where(same).correlate(table)))
        if not self.full_snapshot:
            stale = stale.where(keys[0].in_(select(rows.c[self._feed.key[0]])))
        self._connection.execute(insert(self._staging.stale).from_select(list(self._feed.key), stale))
        fresh = select(rows.c.row).where(~exists(select(1).select_from(table).where(same).correlate(rows)))
        self._connection.execute(insert(self._staging.changed).from_select(["row"], fresh))
        self._staging.analyze(self._staging.stale, self._staging.changed)

    def _values(self) -> list[str]:
        return [name for name in self._feed.columns if name not in self._feed.key]

    def _same_key(self) -> ColumnElement[bool]:
        table, rows = self._feed.table, self._staging.rows
        return and_(*(rows.c[name] == table.c[name] for name in self._feed.key))

    def _replace(self) -> None:
        with self._rebuilding(self._indexes_to_rebuild()):
            self._delete_stale()
            self._insert(self._staged_rows().where(self._staging.rows.c.row.in_(select(self._staging.changed.c.row))))
        self._staging.analyze(self._feed.table)

    def _indexes_to_rebuild(self) -> list[Index]:
        # On PostgreSQL a rebuild blocks running look-ups; on SQLite readers use the old snapshot.
        if self._staging.on_postgresql:
            return []
        affected = self._count(self._staging.changed) + self._count(self._staging.stale)
        if affected < _REBUILD_SHARE * self._count(self._feed.table):
            return []
        return self._indexes_except("load_number", self._feed.key[0])

    def _count(self, table: Table) -> int:
        return self._connection.execute(select(func.count()).select_from(table)).scalar_one()

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
