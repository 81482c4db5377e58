"""Staging tables for a file's rows: filled by the engine's bulk interface, dropped with the transaction.

On SQLite the rows are staged in a separate database file, so that readers of the facts do not wait for the import. On
PostgreSQL they are staged in a temporary table. The SQL that merges them into the facts is the same.
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import adbc_driver_sqlite.dbapi as adbc
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from sqlalchemy import BigInteger, Column, Connection, Index, Integer, MetaData, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from estelam.core.files import create_private_file
from estelam.loading.feed import Feed

SCHEMA = "loading"

_FILE_SETTINGS = ("page_size=16384", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "threads=1")

T = TypeVar("T")
Source = Iterator[tuple[Any, dict[str, Any]]]
"""The rows of a file in batches: row numbers, and text columns by name."""

STORE_ERRORS = (DBAPIError, adbc.Error, psycopg.Error, OSError)
"""Errors of a store, from any of the interfaces that a load uses."""


def prefetch(source: Iterator[T]) -> Iterator[T]:
    """Yield the items of *source*, computing the next one in a thread while the current one is used."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, source, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, source, None)
            yield item


class Staging:
    """The staging tables of one load of *feed* on *connection*, which is in a transaction."""

    def __init__(self, connection: Connection, feed: Feed) -> None:
        self._connection = connection
        self._feed = feed
        self._last = ""
        self.count = 0
        self.ascending = True
        self.unique = True
        self.on_postgresql = connection.dialect.name == "postgresql"
        number = BigInteger().with_variant(Integer(), "sqlite")
        texts = {name: feed.table.c[name].type for name in feed.columns}
        columns = [
            Column("row", number, primary_key=not self.on_postgresql),
            *(Column(name, kind) for name, kind in texts.items()),
        ]
        self.rows = self._temporary("row", *columns) if self.on_postgresql else _attached(*columns)
        """The rows of the file with their row numbers."""
        self.changed = self._temporary("fresh", Column("row", number))
        """Row numbers of the rows that are new or differ from the stored ones."""
        self.stale = self._temporary("stale", *(Column(name, texts[name]) for name in feed.key))
        """Keys of the stored rows to delete: changed, or no longer in the file."""
        self.kept = self._temporary("kept", *(Column(name, kind) for name, kind in texts.items()))
        """Rows to insert beside those of the file: stored ones with the file's values in consistent columns."""

    def fill(self, source: Source, *, keyed: bool) -> None:
        """Stage the rows of *source*, and create a key index if *keyed* or if the rows are not in ascending order.

        Afterwards `unique` is true if no two rows have the same key, and `ascending` if the first key column increases
        strictly from row to row. Comparing with stored rows needs *keyed*.
        """
        for table in (self.changed, self.stale, self.kept):
            table.create(self._connection)
        batches = (self._batch(texts, row=numbers) for numbers, texts in prefetch(source))
        if self.on_postgresql:
            self.rows.create(self._connection)
            self._copy(self.rows, batches)
            self.unique = not self._needs_key(keyed=keyed) or self._make_key()
        else:
            rows = self.rows.to_metadata(MetaData(), schema=None)  # type: ignore[arg-type]  # None is documented
            with self._attached_file(rows.name, _on_sqlite(CreateTable(rows)), batches) as cursor:
                key = _on_sqlite(CreateIndex(self._key(rows)))
                self.unique = not self._needs_key(keyed=keyed) or _succeeds(cursor, key)

    def copy_to_table(self, source: Source, number: int) -> None:
        """Copy the rows of *source* into the table of the feed, which is empty, with load number *number*.

        It is fastest while the table has no indexes.
        """
        table = self._feed.table
        batches = (
            self._batch(texts, load_number=pa.repeat(pa.scalar(number), len(numbers)))
            for numbers, texts in prefetch(source)
        )
        if self.on_postgresql:
            self._copy(table, batches)
            return
        with self._attached_file(table.name, self._declaration(), batches):
            pass
        # In this form, and between tables that are declared alike, SQLite copies rows as they are stored.
        self._connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {SCHEMA}.{table.name}")  # noqa: S608

    def analyze(self, *tables: Table) -> None:
        """Update the statistics of PostgreSQL's planner; on SQLite this is not needed."""
        if self.on_postgresql:
            for table in tables:
                self._connection.exec_driver_sql(f"ANALYZE {table}")

    def prepare_sorting(self) -> None:
        """Let the creation of indexes use a second core, which sorts while the first one reads."""
        if self.on_postgresql:
            self._connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '256MB'")
        else:
            self._connection.exec_driver_sql("PRAGMA threads = 1")

    def _temporary(self, name: str, *columns: Column[Any]) -> Table:
        return Table(
            f"{SCHEMA}_{name}", MetaData(), *columns, prefixes=["TEMPORARY"], postgresql_on_commit=self._on_commit()
        )

    def _on_commit(self) -> str | None:
        return "DROP" if self.on_postgresql else None

    def _batch(self, texts: dict[str, Any], **columns: Any) -> pa.RecordBatch:
        keys = texts[self._feed.key[0]]
        self.count += len(keys)
        self._track_order(keys)
        for name, text in texts.items():
            optional = self._feed.table.c[name].nullable
            columns[name] = pc.if_else(pc.equal(text, ""), None, text) if optional else text
        return pa.RecordBatch.from_pydict(columns)

    def _track_order(self, keys: Any) -> None:
        if self.ascending and len(keys):
            rising = pc.greater(keys[1:], keys[:-1])
            self.ascending = keys[0].as_py() > self._last and pc.all(rising, min_count=0).as_py()
            self._last = keys[-1].as_py()

    def _needs_key(self, *, keyed: bool) -> bool:
        return keyed or not self.ascending

    def _copy(self, table: Table, batches: Iterable[pa.RecordBatch]) -> None:
        driver: Any = self._connection.connection.driver_connection
        options = pyarrow.csv.WriteOptions(include_header=False)
        names = ", ".join(column.name for column in table.columns)
        with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT csv)") as copy:
            for batch in batches:
                text = io.BytesIO()
                pyarrow.csv.write_csv(batch.select([column.name for column in table.columns]), text, options)
                copy.write(text.getbuffer())

    def _make_key(self) -> bool:
        try:
            with self._connection.begin_nested():
                self._connection.execute(CreateIndex(self._key(self.rows)))
        except IntegrityError:
            return False
        self.analyze(self.rows)
        return True

    @contextmanager
    def _attached_file(self, table: str, declaration: str, batches: Iterable[pa.RecordBatch]) -> Iterator[adbc.Cursor]:
        """Fill the *table*, which the SQL *declaration* creates, of a new SQLite file; attach it after the block.

        The block gets a cursor to the file.
        """
        path = self._staging_file()
        path.unlink(missing_ok=True)  # Left over from a load that was killed.
        create_private_file(path)
        try:
            with adbc.connect(str(path), autocommit=True) as staging, staging.cursor() as cursor:
                for setting in _FILE_SETTINGS:
                    cursor.execute(f"PRAGMA {setting}")
                    cursor.fetchall()
                cursor.execute(declaration)
                for batch in batches:
                    cursor.adbc_ingest(table, batch, mode="append")
                yield cursor
            self._connection.exec_driver_sql("ATTACH ? AS " + SCHEMA, (str(path),))
        finally:
            path.unlink(missing_ok=True)  # The connection, if attached, keeps the file's content until it is closed.

    def _declaration(self) -> str:
        """Return the SQL that has created the table of the feed on SQLite."""
        table = self._feed.table
        query = f"SELECT sql FROM {table.schema}.sqlite_schema WHERE type = 'table' AND name = ?"  # noqa: S608
        return str(self._connection.exec_driver_sql(query, (table.name,)).scalar_one())

    def _key(self, rows: Table) -> Index:
        return Index(f"{SCHEMA}_key", *(rows.c[name] for name in self._feed.key), unique=True)

    def _staging_file(self) -> Path:
        query = f"SELECT file FROM pragma_database_list WHERE name = '{self._feed.table.schema}'"  # noqa: S608
        return Path(self._connection.exec_driver_sql(query).scalar_one()).with_name(f"{SCHEMA}.db")


def _attached(*columns: Column[Any]) -> Table:
    return Table("row", MetaData(), *columns, schema=SCHEMA)


def _on_sqlite(statement: CreateTable | CreateIndex) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


def _succeeds(cursor: adbc.Cursor, create_unique_index: str) -> bool:
    try:
        cursor.execute(create_unique_index)
    except adbc.Error as error:
        if "UNIQUE constraint failed" not in str(error):
            raise
        return False
    return True
