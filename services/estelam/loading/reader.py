"""Files of rows, read in batches of columns of text: CSV and Parquet."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from estelam.loading.feed import LoadError
from estelam.loading.rejects import Reject

ROWS = 10_000
MAX_FIELD = 1000
BLOCK = 1 << 20
_PARQUET = b"PAR1"
_MISCOUNTED = "WRONG_NUMBER_OF_FIELDS"


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file, those left out that are no rows at all."""

    numbers: Any
    """Their places in the file, from 1."""
    columns: dict[str, Any]
    """Their texts."""
    rejects: list[Reject]
    """What was left out."""
    read: int
    """How much of the file has been read, in bytes."""


def batches(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    """The rows of the file at *path*, whose columns must be exactly *columns*.

    Raises:
        LoadError: the file, its header or its form can't be read.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(len(_PARQUET)) == _PARQUET
        yield from _parquet(path, columns) if parquet else _csv(path, columns)
    except (OSError, pa.ArrowException) as error:
        # Without a system's error it is the reader of Parquet that complains; its words may quote the file.
        reason = getattr(error, "strerror", None) or "is no Parquet file that can be read"
        raise LoadError(f"{path}: {reason}") from error


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    csv.field_size_limit(MAX_FIELD * 4)
    with path.open("rb") as file:
        _expect(path, _header(file.readline(MAX_FIELD * len(columns))), columns)
        first = 1
        while block := file.read(BLOCK):
            block += file.readline()
            if (table := _plain(block, columns)) is None:
                file.seek(-len(block), os.SEEK_CUR)
                yield from _by_the_book(path, file, first, columns)
                return
            numbers = range(first, first + table.num_rows)
            first += table.num_rows
            yield _sound(numbers, {name: table.column(name).combine_chunks() for name in columns}, [], file.tell())


def _header(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _plain(block: bytes, columns: Sequence[str]) -> Any:
    """The table in *block* where its lines are rows as they stand, split by commas alone; None where it takes more."""
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    if b'"' in block or b"\r" in block:
        return None
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(column_names=columns, use_threads=False, block_size=len(block) + 1),
            pyarrow.csv.ParseOptions(quote_char=False),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.binary()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return None
    # Empty lines are left out.
    return table if table.num_rows == block.count(b"\n") + (not block.endswith(b"\n")) else None


def _by_the_book(path: Path, file: BinaryIO, first: int, columns: Sequence[str]) -> Iterator[Batch]:
    reader = _reader(path, file, first)
    while rows := list(islice(reader, ROWS)):
        yield _of_rows(rows, first, columns, os.lseek(file.fileno(), 0, os.SEEK_CUR))
        first += len(rows)


def _reader(path: Path, file: BinaryIO, lines: int) -> Iterator[list[str]]:
    """The rows of what is left of *file*, so many *lines* of which were read."""
    # Bytes that are not UTF-8 come through as surrogates, so that the row they stand in can be named.
    text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise LoadError(f"{path}: line {lines + reader.line_num}: {error}") from None
    finally:
        text.detach()


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _expect(path, [name for name in columns if name in names] if len(names) == len(columns) else names, columns)
        size, total, first = path.stat().st_size, file.metadata.num_rows, 1
        for batch in file.iter_batches(ROWS, columns=list(columns)):
            numbers = range(first, first + batch.num_rows)
            first += batch.num_rows
            texts = {name: _as_text(batch.column(name)) for name in columns}
            yield _sound(numbers, texts, [], size * (first - 1) // total)


def _as_text(column: Any) -> Any:
    # What says nothing is empty, as in CSV; any other type is told as it is written there.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    binary = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    return pc.fill_null(column.cast(pa.binary() if binary else pa.string()), b"" if binary else "")


def _expect(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if tuple(header) != tuple(columns):
        raise LoadError(f"{path}: the header must be exactly: {','.join(columns)}")


def _of_rows(rows: list[list[str]], first: int, columns: Sequence[str], read: int) -> Batch:
    numbers: Sequence[int] = range(first, first + len(rows))
    rejects = []
    if {len(row) for row in rows} != {len(columns)}:
        right = [len(row) == len(columns) for row in rows]
        rejects = [Reject(number, "", _MISCOUNTED) for number, fits in zip(numbers, right, strict=True) if not fits]
        numbers = [number for number, fits in zip(numbers, right, strict=True) if fits]
        rows = [row for row, fits in zip(rows, right, strict=True) if fits]
    texts = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return _sound(numbers, dict(zip(columns, map(_text, texts), strict=True)), rejects, read)


def _text(values: Sequence[str]) -> Any:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value.encode("utf-8", "surrogateescape") for value in values], pa.binary())


def _sound(numbers: Sequence[int], texts: dict[str, Any], rejects: list[Reject], read: int) -> Batch:
    """The batch of those rows whose fields are UTF-8 and not too long."""
    places = pa.array(numbers, pa.int64())
    wrong: dict[int, Reject] = {}
    for name, column in texts.items():
        for place, reason in _unsound(column):
            wrong.setdefault(place, Reject(numbers[place], name, reason))
    if wrong:
        kept = pa.array([place not in wrong for place in range(len(places))], pa.bool_())
        places = places.filter(kept)
        texts = {name: column.filter(kept) for name, column in texts.items()}
        rejects = sorted([*rejects, *wrong.values()])
    return Batch(places, {name: column.cast(pa.string()) for name, column in texts.items()}, rejects, read)


def _unsound(column: Any) -> Iterator[tuple[int, str]]:
    if pa.types.is_binary(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            for place, value in enumerate(column.to_pylist()):
                text = value.decode("utf-8", "replace")
                if len(text) > MAX_FIELD or text.encode() != value:
                    yield place, "TOO_LONG" if len(text) > MAX_FIELD else "NOT_UTF8"
            return
    if (pc.max(pc.binary_length(column)).as_py() or 0) > MAX_FIELD:
        lengths = pc.utf8_length(column).to_pylist()
        yield from ((place, "TOO_LONG") for place, length in enumerate(lengths) if length > MAX_FIELD)
