"""Loading facts from CSV: streamed, every row checked, all of a file or nothing, coverage moved in the same commit."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

from google.protobuf.message import Message
from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, delete, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from estelam import coverage, validation
from estelam.clock import Clock, to_micros
from estelam.coverage import FACTS, coverage_table
from estelam.errors import Refusal
from estelam.store import Store

CHUNK_ROWS = 1000
MAX_FIELD = 1000
INT64_MAX = 2**63 - 1

# Every load that was committed. Rows carry the number of the load that wrote them last.
load_table = Table(
    "load",
    FACTS,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("loaded_at_micros", BigInteger, nullable=False),
)

Row = dict[str, Any]
Key = tuple[Any, ...]
Fields = Mapping[str, str]


class BadRow(Exception):  # noqa: N818 - reads as what it is
    """A row breaks a rule; *reason* is constant, the row's values stand nowhere in it."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


class LoadError(Exception):
    """The file can't be loaded at all; nothing was changed. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Feed:
    """What one kind of file holds and how its rows enter the store."""

    columns: tuple[str, ...]
    parse: Callable[[Fields], Row]
    """A row for the store, or BadRow."""
    key: tuple[str, ...]
    """What no two rows of one file may share."""
    write: Callable[[Connection, int, Sequence[Row]], None]
    """Insert or replace rows under the number of this load."""
    conflicts: Callable[[Connection, int, Sequence[Row]], Mapping[Key, str]]
    """The keys among rows that contradict what this same load has already written, with the reason."""
    finish: Callable[[Connection, int], None] = lambda _connection, _load: None
    """What remains to be done once every row is in."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was refused; rows are numbered from 1, the header not counted."""

    row: int
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """How a load ended; where there are rejects, nothing was changed."""

    rows: int
    rejected: int
    rejects: Path | None


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the loaded file lets the store claim: complete since a date, loaded through an instant. None: unchanged."""

    since: date | None = None
    through: datetime | None = None


def load(
    store: Store,
    feed: Feed,
    path: Path,
    *,
    declaration: Declaration,
    first_date: date,
    rejects: Path,
    clock: Clock,
    progress: Callable[[int], None],
) -> Loaded:
    """Load *path* in one transaction.

    Loading the same file again changes nothing but the load's number. A file with any bad row changes nothing: each
    such row is written to *rejects*. *progress* is told bytes read so far. *first_date* is what coverage begins with
    where none was declared before.

    Raises:
        LoadError: the file or its header can't be read.
    """
    counter = _Rejects(rejects)
    try:
        with counter, store.transaction() as connection:
            number = (connection.execute(select(func.max(load_table.c.number))).scalar() or 0) + 1
            rows = sum(_chunk(connection, feed, number, chunk, counter) for chunk in _chunks(path, feed, progress))
            if counter.count:
                raise _Rejected
            feed.finish(connection, number)
            loaded_at = clock.micros()
            connection.execute(
                insert(load_table).values(number=number, file=path.name, rows=rows, loaded_at_micros=loaded_at)
            )
            _declare(connection, declaration, first_date)
    except _Rejected:
        return Loaded(0, counter.count, rejects)
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from error
    return Loaded(rows, 0, None)


class _Rejected(Exception):  # noqa: N818
    """Ends the transaction of a file with bad rows."""


class _Rejects:
    """The file of rejects, made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self.count = 0

    def __enter__(self) -> Self:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, reject: Reject) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(("row", "column", "reason"))
        csv.writer(self._file).writerow((reject.row, reject.column, reject.reason))
        self.count += 1


def _chunks(path: Path, feed: Feed, progress: Callable[[int], None]) -> Iterator[Sequence[tuple[int, list[str]]]]:
    # Bytes that are not UTF-8 come through as surrogates, so that the row they stand in can be named.
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.field_size_limit(MAX_FIELD * 4)
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if header and header[0].startswith("\ufeff"):
                header[0] = header[0].removeprefix("\ufeff")
            if tuple(header) != feed.columns:
                raise LoadError(f"{path}: the header must be exactly: {','.join(feed.columns)}")
            for chunk in _batched(enumerate(reader, start=1), CHUNK_ROWS):
                progress(os.lseek(file.fileno(), 0, os.SEEK_CUR))
                yield chunk
        except csv.Error as error:
            raise LoadError(f"{path}: line {reader.line_num}: {error}") from None


def _batched(rows: Iterator[tuple[int, list[str]]], size: int) -> Iterator[Sequence[tuple[int, list[str]]]]:
    chunk: list[tuple[int, list[str]]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _chunk(
    connection: Connection, feed: Feed, number: int, chunk: Sequence[tuple[int, list[str]]], rejects: _Rejects
) -> int:
    good: dict[Key, tuple[int, Row]] = {}
    for index, fields in chunk:
        try:
            row = feed.parse(_fields(feed, fields))
            key = tuple(row[name] for name in feed.key)
            if key in good:
                raise BadRow(feed.key[0], "DUPLICATE")
            good[key] = (index, row)
        except BadRow as bad:
            rejects.add(Reject(index, bad.column, bad.reason))
    rows = [row for _, row in good.values()]
    if rows:
        for key, reason in feed.conflicts(connection, number, rows).items():
            rejects.add(Reject(good[key][0], feed.key[0], reason))
        if not rejects.count:
            feed.write(connection, number, rows)
    return len(rows)


def _fields(feed: Feed, fields: list[str]) -> Fields:
    if len(fields) != len(feed.columns):
        raise BadRow("", "WRONG_NUMBER_OF_FIELDS")
    for column, value in zip(feed.columns, fields, strict=True):
        if len(value) > MAX_FIELD:
            raise BadRow(column, "TOO_LONG")
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRow(column, "NOT_UTF8")
    return dict(zip(feed.columns, fields, strict=True))


def _declare(connection: Connection, declaration: Declaration, first_date: date) -> None:
    before = coverage.read(connection)
    through = declaration.through or (before.through if before else None)
    if through is None or declaration == Declaration():
        return
    since = declaration.since or (before.since if before else first_date)
    connection.execute(delete(coverage_table))
    connection.execute(insert(coverage_table).values(id=1, since=since, through_micros=to_micros(through)))


def upsert(table: Table, connection: Connection, load: int, rows: Sequence[Row]) -> None:
    """Insert *rows* into *table* under the number of this load; a row whose key is there already replaces it."""
    names = [column.name for column in table.primary_key]
    engine = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = engine.insert(table)
    changed = {column.name: column for column in statement.excluded if column.name not in names}
    replace = statement.on_conflict_do_update(index_elements=names, set_=changed)
    connection.execute(replace, [{**row, "load_number": load} for row in rows])


def duplicates(table: Table, connection: Connection, load: int, rows: Sequence[Row]) -> dict[Key, str]:
    """The keys among *rows* that this load has already written to *table*."""
    columns = list(table.primary_key)
    keys = [tuple(row[column.name] for column in columns) for row in rows]
    query = select(*columns).where(tuple_(*columns).in_(keys), table.c.load_number == load)
    return {tuple(found): "DUPLICATE" for found in connection.execute(query)}


def keep_contract(message: Message, columns: Mapping[str, str]) -> None:
    """Raise BadRow where *message* breaks the contract's rules; *columns* names the column of each field."""
    try:
        validation.check(message)
    except Refusal as refusal:
        first = refusal.violations[0]
        raise BadRow(columns.get(first.field, first.field), first.description) from None


def whole_number(fields: Fields, column: str) -> int:
    """The int64 that a column of ASCII digits holds."""
    text = fields[column]
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= INT64_MAX):
        raise BadRow(column, "NOT_A_WHOLE_NUMBER")
    return int(text)


def day(fields: Fields, column: str) -> date:
    """The Gregorian date that a column holds as YYYY-MM-DD."""
    text = fields[column]
    try:
        value = date.fromisoformat(text)
    except ValueError:
        raise BadRow(column, "NOT_A_DATE") from None
    if value.isoformat() != text:
        raise BadRow(column, "NOT_A_DATE")
    return value


def one_of(fields: Fields, column: str, allowed: frozenset[str]) -> str:
    """The word that a column holds, one of *allowed*."""
    if fields[column] not in allowed:
        raise BadRow(column, "NOT_A_KNOWN_WORD")
    return fields[column]


def words(fields: Fields, column: str, *, at_most: int = 200) -> str:
    """The text that a column holds, not empty and without control characters."""
    text = fields[column]
    if not text.strip() or len(text) > at_most or any(ord(character) < 32 for character in text):
        raise BadRow(column, "NOT_A_TEXT")
    return text
