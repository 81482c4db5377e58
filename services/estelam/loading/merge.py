"""A file's rows made part of the facts, in SQL: what contradicts itself, what is changed or gone, what is new."""

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

# An index is built anew where it would have to take in more than this part of the rows that it has.
_MANY = 0.1


class Merge:
    """One load of *feed*, of whose table nothing stays that the file does not hold if it is the *whole* register."""

    def __init__(self, connection: Connection, feed: Feed, staging: Staging, *, number: int, whole: bool) -> None:
        self._connection = connection
        self._feed = feed
        self._staging = staging
        self._number = number
        self.full_snapshot = whole
        self.table_is_empty = connection.execute(select(feed.table.c.load_number).limit(1)).first() is None
        """Whether there is nothing on record yet that the file's rows could be compared with."""

    @property
    def can_copy_directly(self) -> bool:
        """Whether the file's rows may be put where they belong at once, as long as nothing is wrong with any."""
        return self.table_is_empty and self._staging.on_postgresql

    def copy_directly(self, source: Source) -> bool:
        """Make the rows of *source* the facts; False where they contradict one another."""
        try:
            with self._rebuilding(self._feed.table.indexes):
                self._staging.copy_to_table(source, self._number)
        except IntegrityError:
            return False
        # Without statistics the first inquiries would be looked up by reading everything.
        self._staging.analyze(self._feed.table)
        return not self._at_odds(self._feed.table)

    def conflicts(self) -> list[Reject]:
        """The rows of the file that contradict others of it."""
        found = {reject.row: reject for reject in self._disagreements()}
        if not self._staging.unique:
            found |= {reject.row: reject for reject in self._duplicates()}
        return sorted(found.values())

    def run(self) -> None:
        """Make the file's rows part of the facts."""
        if self.table_is_empty:
            self._fill()
        else:
            self._compare()
            self._replace()

    def _fill(self) -> None:
        growing = self._feed.key[:1] if self._staging.ascending else ()
        with self._rebuilding(self._indexes_but("load_number", *growing)):
            self._insert(self._said())

    def _indexes_but(self, *growing: str) -> list[Index]:
        """The indexes, without those by what is *growing*: rows enter them at their end, as fast as anyhow."""
        return [index for index in self._feed.table.indexes if index.columns[0].name not in growing]

    @contextmanager
    def _rebuilding(self, indexes: Iterable[Index]) -> Iterator[None]:
        """Without *indexes*, which are made anew from all rows at once."""
        for index in indexes:
            index.drop(self._connection)
        yield
        for index in indexes:
            index.create(self._connection)

    def _said(self) -> Select[Any]:
        rows = self._staging.rows
        return select(*(rows.c[name] for name in self._feed.columns), literal(self._number))

    def _insert(self, rows: Select[Any]) -> None:
        self._connection.execute(insert(self._feed.table).from_select([*self._feed.columns, "load_number"], rows))

    def _duplicates(self) -> Iterator[Reject]:
        rows = self._staging.rows
        keys = [rows.c[name] for name in self._feed.key]
        place = func.row_number().over(partition_by=keys, order_by=rows.c.row).label("place")
        numbered = select(rows.c.row, place).subquery()
        query = select(numbered.c.row).where(numbered.c.place > 1).order_by(numbered.c.row)
        for row in self._connection.execute(query).scalars():
            yield Reject(row, self._feed.key[0], "DUPLICATE")

    def _disagreements(self) -> Iterator[Reject]:
        """What differs from the first row that shares the first of the key."""
        if shared_by := self._at_odds(self._staging.rows):
            yield from self._differing(shared_by)

    def _at_odds(self, rows: Table) -> Sequence[str]:
        """What is shared by rows that do not agree."""
        if not self._feed.consistent or self._staging.ascending:
            return ()
        shared = rows.c[self._feed.key[0]]
        several = select(shared).group_by(shared).having(func.count() > 1).subquery()
        said = [func.coalesce(cast(rows.c[name], Text), "") for name in self._feed.consistent]
        at_odds = (
            select(shared)
            .join(several, several.c[shared.name] == shared)
            .group_by(shared)
            .having(or_(*(func.min(each) != func.max(each) for each in said)))
        )
        return self._connection.execute(at_odds).scalars().all()

    def _differing(self, shared_by: Sequence[str]) -> Iterator[Reject]:
        rows, shared = self._staging.rows, self._feed.key[0]
        query = select(rows).where(rows.c[shared].in_(shared_by)).order_by(rows.c.row)
        first: dict[str, list[object]] = {}
        for row in self._connection.execute(query).mappings():
            says = [row[name] for name in self._feed.consistent]
            if first.setdefault(row[shared], says) != says:
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
        with self._rebuilding(self._worth_rebuilding()):
            self._forget()
            self._insert(self._said().where(self._staging.rows.c.row.in_(select(self._staging.changed.c.row))))
        self._staging.analyze(self._feed.table)

    def _worth_rebuilding(self) -> list[Index]:
        # On PostgreSQL the inquiries under way would wait for it; on SQLite they see nothing of it.
        if self._staging.on_postgresql:
            return []
        many = self._count(self._staging.changed) + self._count(self._staging.stale)
        if many < _MANY * self._count(self._feed.table):
            return []
        return self._indexes_but("load_number", self._feed.key[0])

    def _count(self, table: Table) -> int:
        return self._connection.execute(select(func.count()).select_from(table)).scalar_one()

    def _forget(self) -> None:
        """Delete what is stale, and journal what it mentioned."""
        table = self._feed.table
        keys = tuple_(*(table.c[name] for name in self._feed.key))
        stale = keys.in_(select(*self._staging.stale.columns))
        for kind, name in self._feed.subjects.items():
            mentioned = (
                select(literal(self._number), literal(kind), table.c[name]).where(stale, table.c[name] != "").distinct()
            )
            journal = insert(former_subject_table)
            self._connection.execute(journal.from_select(["load_number", "kind", "value"], mentioned))
        self._connection.execute(delete(table).where(stale))
