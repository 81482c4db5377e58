"""Read CSV and Parquet files in batches of text columns."""

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
"""Rows of a batch, if they are read one by one."""
MAX_FIELD = 1000
"""Characters of a field, at most."""
BLOCK = 1 << 20
"""Bytes of a CSV file that are parsed at a time."""
_PARQUET = b"PAR1"
_WRONG_FIELD_COUNT = "WRONG_NUMBER_OF_FIELDS"


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a file, without the malformed ones."""

    numbers: Any
    """Their row numbers in the file, from 1 (int64 array)."""
    columns: dict[str, Any]
    """Their values by column (string arrays)."""
    rejects: list[Reject]
    """The malformed rows."""
    read: int
    """Bytes of the file read so far."""


def batches(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    """Yield the rows of the file at *path*, whose columns must be exactly *columns*.

    Raises:
        LoadError: the file can't be read, or its header or format is wrong.
    """
    try:
        with path.open("rb") as file:
            parquet = file.read(len(_PARQUET)) == _PARQUET
        yield from _parquet(path, columns) if parquet else _csv(path, columns)
    except (OSError, pa.ArrowException) as error:
        # Without an operating system error, the Parquet reader failed; its message may quote the file.
        cause: str | None = getattr(error, "strerror", None)
        reason = cause.lower() if cause else "is not a valid Parquet file"
        raise LoadError(f"{path}: {reason}") from error


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Batch]:
    csv.field_size_limit(MAX_FIELD * 4)
    with path.open("rb") as file:
        _require_header(path, _header(file.readline(MAX_FIELD * len(columns))), columns)
        first = 1
        while block := file.read(BLOCK):
            block += file.readline()
            if (table := _parse_simple(block, columns)) is None:
                file.seek(-len(block), os.SEEK_CUR)
                yield from _parse_strict(path, file, first, columns)
                return
            numbers = range(first, first + table.num_rows)
            first += table.num_rows
            yield _batch(numbers, {name: table.column(name).combine_chunks() for name in columns}, [], file.tell())


def _header(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _parse_simple(block: bytes, columns: Sequence[str]) -> Any:
    """Parse *block* if every line is one row without quotes; return None if it needs the full CSV grammar."""
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
    # Arrow skips empty lines, so the counts differ then.
    return table if table.num_rows == block.count(b"\n") + (not block.endswith(b"\n")) else None


def _parse_strict(path: Path, file: BinaryIO, first: int, columns: Sequence[str]) -> Iterator[Batch]:
    reader = _reader(path, file, first)
    while rows := list(islice(reader, ROWS)):
        yield _batch_of_rows(rows, first, columns, os.lseek(file.fileno(), 0, os.SEEK_CUR))
        first += len(rows)


def _reader(path: Path, file: BinaryIO, lines: int) -> Iterator[list[str]]:
    """Yield the remaining rows of *file*, of which *lines* lines have been read."""
    # Bytes that are not UTF-8 are decoded to surrogates, so that their row can be reported.
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
        _require_header(
            path, [name for name in columns if name in names] if len(names) == len(columns) else names, columns
        )
        size, total, first = path.stat().st_size, file.metadata.num_rows, 1
        for batch in file.iter_batches(ROWS, columns=list(columns)):
            numbers = range(first, first + batch.num_rows)
            first += batch.num_rows
            texts = {name: _as_text(batch.column(name)) for name in columns}
            yield _batch(numbers, texts, [], size * (first - 1) // total)


def _as_text(column: Any) -> Any:
    # Null becomes the empty text, as in CSV; values of other types become their text form.
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    binary = pa.types.is_string(column.type) or pa.types.is_binary(column.type)
    return pc.fill_null(column.cast(pa.binary() if binary else pa.string()), b"" if binary else "")


def _require_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if tuple(header) != tuple(columns):
        raise LoadError(f"{path}: the header must be exactly: {','.join(columns)}")


def _batch_of_rows(rows: list[list[str]], first: int, columns: Sequence[str], read: int) -> Batch:
    numbers: Sequence[int] = range(first, first + len(rows))
    rejects = []
    if {len(row) for row in rows} != {len(columns)}:
        valid = [len(row) == len(columns) for row in rows]
        rejects = [
            Reject(number, "", _WRONG_FIELD_COUNT) for number, fits in zip(numbers, valid, strict=True) if not fits
        ]
        numbers = [number for number, fits in zip(numbers, valid, strict=True) if fits]
        rows = [row for row, fits in zip(rows, valid, strict=True) if fits]
    texts = zip(*rows, strict=True) if rows else ((),) * len(columns)
    return _batch(numbers, dict(zip(columns, map(_text, texts), strict=True)), rejects, read)


def _text(values: Sequence[str]) -> Any:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value.encode("utf-8", "surrogateescape") for value in values], pa.binary())


def _batch(numbers: Sequence[int], texts: dict[str, Any], rejects: list[Reject], read: int) -> Batch:
    """Return the batch of the rows whose fields are UTF-8 and not too long; reject the others."""
    row_numbers = pa.array(numbers, pa.int64())
    invalid: dict[int, Reject] = {}
    for name, column in texts.items():
        for index, reason in _invalid_fields(column):
            invalid.setdefault(index, Reject(numbers[index], name, reason))
    if invalid:
        valid = pa.array([index not in invalid for index in range(len(row_numbers))], pa.bool_())
        row_numbers = row_numbers.filter(valid)
        texts = {name: column.filter(valid) for name, column in texts.items()}
        rejects = sorted([*rejects, *invalid.values()])
    return Batch(row_numbers, {name: column.cast(pa.string()) for name, column in texts.items()}, rejects, read)


def _invalid_fields(column: Any) -> Iterator[tuple[int, str]]:
    """Yield index and reason of every value that is not UTF-8 or too long."""
    if pa.types.is_binary(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            for index, value in enumerate(column.to_pylist()):
                text = value.decode("utf-8", "replace")
                if len(text) > MAX_FIELD or text.encode() != value:
                    yield index, "TOO_LONG" if len(text) > MAX_FIELD else "NOT_UTF8"
            return
    if (pc.max(pc.binary_length(column)).as_py() or 0) > MAX_FIELD:
        lengths = pc.utf8_length(column).to_pylist()
        yield from ((index, "TOO_LONG") for index, length in enumerate(lengths) if length > MAX_FIELD)
