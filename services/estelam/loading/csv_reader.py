"""Read CSV files in batches: simple blocks column by column with Arrow, everything else with Python's strict reader."""

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from estelam.core.cells import WRONG_NUMBER_OF_FIELDS
from estelam.loading.batch import MAX_FIELD, ROWS, Batch
from estelam.loading.errors import LoadError
from estelam.loading.formats import ColumnFormat
from estelam.loading.header import Header, complete, parse_header
from estelam.loading.lines import LINE, LONG_HEADER, MAX_HEADER, Lines, LongRowError
from estelam.loading.rejects import Reject
from estelam.loading.source import Source, check_encoding, check_windows_1256, is_before_header

BLOCK = LINE
"""Bytes of a file that are parsed at a time."""
BATCH = BLOCK
"""Characters of the rows of a batch that are read one by one, at most, but for the rest of its last row."""
VALUE_WITHOUT_COLUMN = "VALUE_WITHOUT_COLUMN"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_QUOTE = "a quoted field that begins in this row is not closed, or has a quote within it that is not doubled"
_LONG_FIELD = f"{_QUOTE}, or a field is longer than {MAX_FIELD} characters"


def csv_batches(source: Source, columns: Mapping[str, ColumnFormat], ignored: Collection[str]) -> Iterator[Batch]:
    """Yield the rows of the CSV file *source*, which has *columns* and may have *ignored* ones.

    Raises:
        LoadError: the encoding, the header or the CSV syntax is wrong, or the file ends within a row.
    """
    csv.field_size_limit(MAX_FIELD * 4)
    header, line, line_end, block = read_header(source, columns, ignored)
    check_windows_1256(source.path, block, line + 1, header.names, header.separator)
    reader = _CsvReader(source, header, tuple(columns))
    yield from reader.batches(block, line + 1, simple=line_end != b"\r")


def read_header(
    source: Source, columns: Mapping[str, ColumnFormat], ignored: Collection[str]
) -> tuple[Header, int, bytes, bytes]:
    """Return the header of the CSV file *source*, its line, its line end, and what was read after it.

    Raises:
        LoadError: the encoding or the header is wrong.
    """
    block = source.file.read(BLOCK)
    check_encoding(source.path, block)
    text, line, line_end, block = _first_line(source, block)
    return parse_header(source.path, line, text, columns, ignored), line, line_end, block


def _first_line(source: Source, block: bytes) -> tuple[str, int, bytes, bytes]:
    """Return the line of *block* with the header, its number, its line end, and what follows it."""
    block, line = block.removeprefix(codecs.BOM_UTF8), 1
    while (end := _LINE_END.search(block)) and is_before_header(block[: end.start()].decode("latin-1")):
        block, line = block[end.end() :], line + 1
    content, line_end, rest = (block[: end.start()], end[0], block[end.end() :]) if end else (block, b"", b"")
    if len(content) > MAX_HEADER:
        raise LoadError(f"{source.path}: line {line}: {LONG_HEADER}")
    if not content.strip():
        raise LoadError(f"{source.path}: is empty; the first line must name the columns")
    try:
        return content.decode(), line, line_end, rest
    except UnicodeDecodeError:
        raise LoadError(f"{source.path}: line {line}: the header is not UTF-8") from None


class _Row(NamedTuple):
    """A row that is read by itself."""

    line: int
    """The line in which it begins."""
    fields: Sequence[str]
    """Its fields; none if it is malformed."""
    malformed: str | None = None
    """The reason why it is."""


@dataclass(frozen=True, slots=True)
class _CsvReader:
    """A CSV file whose header was read."""

    source: Source
    header: Header
    columns: tuple[str, ...]

    def batches(self, block: bytes, line: int, *, simple: bool) -> Iterator[Batch]:
        """Yield the rows in *block*, which begins with *line*, and after it; *simple*: no line ends with CR alone."""
        first, file = 1, self.source.file
        while simple and (block := block or file.read(BLOCK)):
            if not block.endswith(b"\n"):
                block += file.readline(BLOCK)
            if (texts := self._parse_simple(block)) is None:
                break
            count = len(texts[self.columns[0]])
            yield self._batch(pa.arange(first, first + count), texts, [], first, range(line, line + count))
            block, first, line = b"", first + count, line + count
        yield from self._strict_batches(block, first, line)

    def _parse_simple(self, block: bytes) -> dict[str, Any] | None:
        """Parse *block* if every line is one row without quotes and not blank; None if it needs the full grammar."""
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        if b'"' in block or b"\r" in block or not block.endswith(b"\n") or self._may_have_blank_row(block):
            return None
        names = [str(position) for position in range(len(self.header.names))]
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(block),
                pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
                pyarrow.csv.ParseOptions(delimiter=self.header.separator, quote_char=False),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False),
            )
        except pa.ArrowInvalid:
            return None
        # Arrow skips empty lines, so the counts differ then.
        if table.num_rows != block.count(b"\n"):
            return None
        if any(pc.any(pc.not_equal(table.column(position), b"")).as_py() for position in self.header.unnamed):
            return None
        cells = {name: table.column(position).combine_chunks() for name, position in self.header.positions.items()}
        return complete(cells, self.columns, table.num_rows)

    def _may_have_blank_row(self, block: bytes) -> bool:
        """Return whether a line of *block* may have separators and blanks alone, which makes it no row.

        A blank may be any that Unicode has, so every line without an ASCII letter or digit is suspect.
        """
        blank = rb"[\t\v\f\x1c-\x20\x80-\xff%b]+\n" % re.escape(self.header.separator.encode())
        return bool(re.match(blank, block) or re.search(b"\n" + blank, block))

    def _strict_batches(self, block: bytes, first: int, line: int) -> Iterator[Batch]:
        lines = Lines(_Joined(block, self.source.file), errors="surrogateescape")
        rows: list[_Row] = []
        characters = 0
        for row in self._rows(lines, line):
            rows.append(row)
            characters += lines.length
            if len(rows) == ROWS or characters >= BATCH:
                yield self._batch_of_rows(rows, first)
                first += len(rows)
                rows, characters = [], 0
        if rows:
            yield self._batch_of_rows(rows, first)

    def _rows(self, lines: Lines, line: int) -> Iterator[_Row]:
        """Yield the rows of *lines* that have a value; the first line is *line*."""
        reader = csv.reader(lines, delimiter=self.header.separator, strict=True)
        start = line
        try:
            for fields in reader:
                has_value = bool("".join(fields).strip())
                if (has_value or len(fields) > 1) and not lines.ended:
                    raise self._error(
                        start,
                        "the file ends within this row, so it may be cut off; if it is complete, add a line end",
                    )
                if has_value:
                    # A malformed row may have a million fields: only the reason is kept.
                    yield _Row(start, (), reason) if (reason := self._malformed(fields)) else _Row(start, fields)
                start = line + reader.line_num
                lines.begin_row()
                del fields  # Else two rows are in memory while the next one is read.
        except csv.Error as error:
            raise self._error(start, _LONG_FIELD if "field larger" in str(error) else _QUOTE) from None
        except LongRowError as error:
            raise self._error(start, str(error)) from None

    def _error(self, line: int, text: str) -> LoadError:
        return LoadError(f"{self.source.path}: line {line}: {text}")

    def _batch_of_rows(self, rows: Sequence[_Row], first: int) -> Batch:
        numbered = list(enumerate(rows, first))
        rejects = [Reject(number, "", row.malformed, row.line) for number, row in numbered if row.malformed]
        numbers = [number for number, row in numbered if not row.malformed]
        valid = [row.fields for row in rows if not row.malformed]
        cells = {name: _array([row[position] for row in valid]) for name, position in self.header.positions.items()}
        texts = complete(cells, self.columns, len(valid))
        return self._batch(pa.array(numbers, pa.int64()), texts, rejects, first, [row.line for row in rows])

    def _malformed(self, row: list[str]) -> str | None:
        if len(row) != len(self.header.names):
            return WRONG_NUMBER_OF_FIELDS
        return VALUE_WITHOUT_COLUMN if any(row[position] for position in self.header.unnamed) else None

    def _batch(
        self, numbers: Any, texts: dict[str, Any], rejects: list[Reject], first: int, lines: Sequence[int]
    ) -> Batch:
        return Batch(numbers, texts, rejects, self.source.position, first, lines).without_invalid_text()


class _Joined(io.BufferedIOBase):
    """A stream of the bytes of *start* and then of *file*, which it does not close."""

    def __init__(self, start: bytes, file: BinaryIO) -> None:
        self._start = start
        self._file = file

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1, /) -> bytes:
        if self._start:
            chunk, self._start = self._start[:size], self._start[size:]
            return chunk
        return self._file.read(size)


def _array(values: Sequence[str]) -> Any:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value.encode("utf-8", "surrogateescape") for value in values], pa.binary())
