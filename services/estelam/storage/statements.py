"""Statements that SQLAlchemy compiles once for each engine, and that run on the driver's cursor.

SQLAlchemy's execution layer costs several times what a driver takes to run a statement of the request path. Errors are
the same as SQLAlchemy's. Results are fetched whole and cursors closed, because an open one holds locks.

In psycopg's pipeline mode (`Store.append`) a started statement is only queued: it is sent with the next one whose rows
are read, so that both take one round trip.
"""

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import cache, partial
from itertools import count
from struct import Struct
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Connection,
    Delete,
    Dialect,
    Select,
    Table,
    TableValuedAlias,
    Text,
    TypeDecorator,
    bindparam,
    insert,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

_POSTGRESQL, _SQLITE = "postgresql", "sqlite"
_Processor = Callable[[Any], Any]
ROWS_AT_ONCE = 2000
RowReader = Callable[[], list[Any]]
"""Returns all rows of a started statement, as named tuples."""


class _TextList(TypeDecorator[Sequence[str]]):
    """Texts as one parameter: an array, or JSON."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the parameter."""
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == _POSTGRESQL else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the parameter."""
        return list(value) if dialect.name == _POSTGRESQL else json.dumps(list(value))


class _Elements(FunctionElement[Any]):
    """The elements of a `_TextList`, as a table."""

    inherit_cache = True


@compiles(_Elements, _POSTGRESQL)
def _compile_unnest(element: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"unnest({compiler.process(element.clause_expr.element, **options)})"


@compiles(_Elements, _SQLITE)
def _compile_json_each(element: _Elements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clause_expr.element, **options)})"


def each(name: str) -> TableValuedAlias:
    """Return a table of the texts in the parameter *name*, whose only column is `value`.

    A statement is the same for any number of them. Join from it outwards (LEFT JOIN, EXISTS): SQLite then searches the
    other table for each text, whatever it assumes about the sizes of both.
    """
    values: BindParameter[Any] = bindparam(name, type_=_TextList())
    return _Elements(values).table_valued("value", name="value")


class _Compiled(NamedTuple):
    """A statement for one engine."""

    sql: str
    constants: Mapping[str, Any]
    """The parameters that the statement itself holds."""
    processors: Mapping[str, _Processor]
    """How values become parameters, where they are converted."""
    positions: Sequence[str] | None
    """The names of the parameters by position; None: the driver takes them by name."""
    row: Callable[[Iterable[Any]], Any] | None
    """Makes a named tuple of a row; None: the statement returns no rows."""

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver takes them."""
        given = {**self.constants, **values}
        for name, process in self.processors.items():
            given[name] = process(given[name])
        return given if self.positions is None else [given[name] for name in self.positions]


class Statement:
    """A statement of SQLAlchemy's expression language, compiled when it is first run on an engine.

    Values are converted as SQLAlchemy converts those of the same types.
    """

    def __init__(self, clause: Select[Any] | Delete) -> None:
        self.clause = clause
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: Connection, **values: Any) -> list[Any]:
        """Run the statement and return all rows, as named tuples."""
        return self.start(connection, **values)()

    def start(self, connection: Connection, **values: Any) -> RowReader:
        """Run or queue the statement."""
        compiled = self._for(connection.dialect)
        return execute(connection, compiled.sql, compiled.parameters(values), compiled.row)

    def stream(self, connection: Connection, **values: Any) -> Generator[list[tuple[Any, ...]]]:
        """Run the statement and yield its rows, some at a time, on PostgreSQL by a cursor of the server.

        They have the values of the driver: none is converted to a column's type. Close the generator: it ends the
        statement.
        """
        compiled = self._for(connection.dialect)
        failures = connection.dialect.loaded_dbapi.Error
        try:
            with closing(_stream_cursor(connection)) as cursor:
                options = {} if connection.dialect.name == _SQLITE else {"binary": True}
                cursor.execute(compiled.sql, compiled.parameters(values), **options)
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    yield rows
        except failures as error:
            raise driver_error(connection, error, compiled.sql) from error

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compile(self.clause, dialect)
        return compiled


def _compile(clause: Select[Any] | Delete, dialect: Dialect) -> _Compiled:
    compiled: Any = clause.compile(dialect=dialect)
    processors = {name: _of(bind.type, dialect).bind_processor(dialect) for bind, name in compiled.bind_names.items()}
    return _Compiled(
        str(compiled),
        compiled.params,
        {name: process for name, process in processors.items() if process},
        compiled.positiontup,
        _row_maker(clause, dialect) if isinstance(clause, Select) else None,
    )


def _row_maker(clause: Select[Any], dialect: Dialect) -> Callable[[Iterable[Any]], Any]:
    columns = clause.selected_columns
    make: Any = NamedTuple("Row", [(column.key, Any) for column in columns])._make  # type: ignore[misc]  # they vary
    processors = [_of(column.type, dialect).result_processor(dialect, None) for column in columns]
    if not any(processors):
        return cast("Callable[[Iterable[Any]], Any]", make)
    return lambda row: make(process(one) if process else one for process, one in zip(processors, row, strict=True))


def _of(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return kind.dialect_impl(dialect)


def start_insert(connection: Connection, rows: Mapping[Table, Sequence[Sequence[Any]]]) -> None:
    """Run or queue the insertion of *rows*, each a tuple in the order of its table's columns; a table may get none.

    PostgreSQL gets one statement for all of them, with one array for each column, in binary form (`PackedArray`): half
    the work of one statement for each row, for client and server.
    """
    given = {table: some for table, some in rows.items() if some}
    dialect = connection.dialect
    if dialect.name == _POSTGRESQL:
        sql, packers = _insertion_of_arrays(tuple(given))
        columns = (column for some in given.values() for column in zip(*some, strict=True))
        execute(connection, sql, [pack(column) for pack, column in zip(packers, columns, strict=True)], None)
        return
    for table, some in given.items():
        execute(connection, _insertion_of_row(table), some, None, many=True)


@cache
def _insertion_of_row(table: Table) -> str:
    return str(insert(table).compile(dialect=sqlite.dialect()))


class PackedArray(bytes):
    """An array in PostgreSQL's binary form, ready to send: the driver takes several times as long to make it."""


_LENGTH = Struct(">i")
_Packer = Callable[[Sequence[Any]], PackedArray]
# Of each type of column: the number of its elements' type in PostgreSQL's catalogue, and an element with its length.
_ELEMENTS: Mapping[str, tuple[int, Callable[[Any], bytes]]] = {
    "BIGINT": (20, partial(Struct(">iq").pack, 8)),
    "SMALLINT": (21, partial(Struct(">ih").pack, 2)),
    "BYTEA": (17, lambda value: _LENGTH.pack(len(value)) + value),
    "TEXT": (25, lambda value: _LENGTH.pack(len(value.encode())) + value.encode()),
}
_NULL = _LENGTH.pack(-1)
# The number of dimensions, whether elements may be null, their type, their number, and the index of the first.
_ARRAY_HEADER = Struct(">iiIii")


def _pack(oid: int, element: Callable[[Any], bytes], values: Sequence[Any]) -> PackedArray:
    packed = [_NULL if value is None else element(value) for value in values]
    return PackedArray(_ARRAY_HEADER.pack(1, 1, oid, len(packed), 1) + b"".join(packed))


@cache
def _insertion_of_arrays(tables: Sequence[Table]) -> tuple[str, Sequence[_Packer]]:
    """Return the statement, and for each of its parameters what makes it of a column's values."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # it has no types
    *others, last = (_array_insertion(table, dialect) for table in tables)
    parts = ", ".join(f"part_{number} AS ({each})" for number, each in enumerate(others))
    kinds = [column.type.compile(dialect) for table in tables for column in table.columns]
    return f"WITH {parts} {last}" if parts else last, [partial(_pack, *_ELEMENTS[kind]) for kind in kinds]


def _array_insertion(table: Table, dialect: Dialect) -> str:
    quote = dialect.identifier_preparer
    names = ", ".join(quote.format_column(column) for column in table.columns)
    arrays = ", ".join(f"%b::{column.type.compile(dialect)}[]" for column in table.columns)
    return f"INSERT INTO {quote.format_table(table)} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608 - constants


def run_text(connection: Connection, sql: str) -> None:
    """Run or queue *sql*, one statement without parameters and rows."""
    execute(connection, sql, None, None)


def execute(
    connection: Connection,
    sql: str,
    parameters: Any,
    row: Callable[[Iterable[Any]], Any] | None,
    *,
    many: bool = False,
) -> RowReader:
    """Run or queue *sql* on the driver's cursor: every statement of this module passes here."""

    def read() -> list[Any]:
        try:
            return [] if row is None else list(map(row, cursor.fetchall()))
        except failures as error:
            raise driver_error(connection, error, sql) from error
        finally:
            cursor.close()

    failures = connection.dialect.loaded_dbapi.Error
    try:
        cursor = connection.connection.cursor()
        try:
            (cursor.executemany if many else cursor.execute)(sql, *(() if parameters is None else (parameters,)))
        except failures:
            # An open cursor holds a lock as long as anything refers to it, such as the traceback of an error.
            cursor.close()
            raise
    except failures as error:
        raise driver_error(connection, error, sql) from error
    if connection.dialect.name != _SQLITE:
        return read
    rows = read()
    return lambda: rows


def _stream_cursor(connection: Connection) -> Any:
    driver: Any = connection.connection.driver_connection
    return driver.cursor() if connection.dialect.name == _SQLITE else driver.cursor(name=f"stream_{next(_STREAMS)}")


_STREAMS = count()


def driver_error(connection: Connection, error: Exception, sql: str | None = None) -> BaseException:
    """Return the error that SQLAlchemy raises in place of the driver's *error*."""
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    is_lost = dialect.is_disconnect(cast("Any", error), driver, None)
    base = dialect.loaded_dbapi.Error
    instance = DBAPIError.instance(
        sql, None, error, base, hide_parameters=True, connection_invalidated=is_lost, dialect=dialect
    )
    return cast("BaseException", instance)
