"""Read the list of a bulk check: a CSV file of people and their spreadsheets."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from estelam.cli.bulk.question import Place, Question, Row
from estelam.core import dates, validation
from estelam.core.cells import (
    CELL_TEXTS,
    NOT_A_WHOLE_NUMBER,
    NUMBER_TOO_LARGE,
    SPREADSHEET_FORM,
    SPREADSHEET_VALUE,
    WRONG_NUMBER_OF_FIELDS,
    ZEROS_LOST,
    damage,
    read_code,
    read_digits,
)
from estelam.core.dates import DateError
from estelam.core.errors import Refusal
from estelam.core.normalize import TooLargeError, normalize_identifier, parse_amount
from estelam.core.rounding import RoundingCount, may_be_rounded
from estelam.loading.errors import LoadError
from estelam.loading.lines import LINE, LONG_HEADER, MAX_HEADER, Lines, LongRowError
from estelam.loading.source import SAVE_AS_CSV, check_encoding, check_windows_1256, is_before_header, open_source
from estelam.receipts.receipt import canonical

SEPARATORS = ",;\t|"
"""Separators of cells; the header tells which one a list uses."""
SHOWN_ROWS = 10
_START_BYTES = 1 << 16
"""The beginning of a list, by which its encoding is recognized."""
_SPREADSHEET_FORM = re.compile(SPREADSHEET_FORM)
MAYBE_ROUNDED = "MAYBE_ROUNDED: ends in zeros from the 16th digit on, as a spreadsheet rounds long numbers"


def read_rows(path: Path, question: Question, now: datetime) -> Iterator[Row]:
    """Yield the rows of the CSV file *path*; no date in the question's date column is after *now*.

    Raises:
        LoadError: the file has no valid header, is not UTF-8, is not CSV (also in gzip), or ends within a row.
    """
    with open_source(path) as source:
        if source.is_parquet:
            raise LoadError(f"{path}: is Parquet; write the list as CSV in UTF-8")
        start = source.file.read(_START_BYTES)
        source.file.seek(0)
        check_encoding(path, start)
        try:
            lines = Lines(source.file, "utf-8-sig")
            line, first = _first_line(path, lines)
            header, separator = _header(path, line, first, question)
            yield from _rows_below(path, lines, line, header, separator, question, now)
        except UnicodeDecodeError:
            _, first = _first_line(path, Lines(io.BytesIO(start), "latin-1"))
            separator = max(SEPARATORS, key=first.count)
            check_windows_1256(path, start, 1, _names(first, separator) if first.isascii() else (), separator)
            raise LoadError(f"{path}: line {_undecodable_line(path)}: is not UTF-8; {SAVE_AS_CSV}") from None


def _rows_below(
    path: Path, lines: Lines, line: int, header: list[str], separator: str, question: Question, now: datetime
) -> Iterator[Row]:
    """Yield the rows below the header, which is the given *line*."""
    lines.begin_row()
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number, start = 0, line + 1
    try:
        for cells in reader:
            has_value = bool("".join(cells).strip())
            if (has_value or len(cells) > 1) and not lines.ended:
                reason = "the file ends within this row, so it may be cut off; if it is complete, add a line end"
                raise LoadError(f"{path}: line {start}: {reason}")
            if has_value:
                number += 1
                yield _row(Place(number, start), header, cells, question, now)
            start = line + reader.line_num + 1
            lines.begin_row()
    except (csv.Error, LongRowError) as error:
        raise LoadError(f"{path}: line {start}: {error}") from None


def _undecodable_line(path: Path) -> int:
    """Return the number of the first line of the file *path* that is not UTF-8."""
    number = 1
    with open_source(path) as source:
        for raw in iter(lambda: source.file.readline(LINE), b""):
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                return number + len(_line_ends(raw[: error.start].decode()))
            number += len(_line_ends(text))
    return number


def _line_ends(text: str) -> list[str]:
    return re.findall("\r\n|\r|\n", text)


def _first_line(path: Path, lines: Lines) -> tuple[int, str]:
    """Return the line with the header, and its number."""
    number = 1
    try:
        for number, line in enumerate(lines, 1):
            if not is_before_header(line):
                if len(line) > MAX_HEADER:
                    break
                return number, line
            lines.begin_row()
        else:
            return 1, ""
    except LongRowError:
        pass
    raise LoadError(f"{path}: line {number}: {LONG_HEADER}")


def _header(path: Path, number: int, line: str, question: Question) -> tuple[list[str], str]:
    """Return the names of the columns, and the separator; the order, other columns and the case do not matter."""
    candidates = [(_names(line, separator), separator) for separator in SEPARATORS]
    names, separator = max(candidates, key=lambda each: len({*each[0]} & {*question.fields}))
    once = [*question.fields, *([question.date_column] if question.date_column in names else ())]
    if any(names.count(name) != 1 for name in once):
        needed = ", ".join(question.fields)
        raise LoadError(f"{path}: line {number}: the header must name each of these columns, once: {needed}")
    return names, separator


def _names(line: str, separator: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return []
    return [re.sub("[ _-]+", "_", normalize_identifier(cell).lower()) for cell in cells]


def _row(place: Place, header: list[str], cells: list[str], question: Question, now: datetime) -> Row:
    if len(cells) != len(header):
        wrong = CELL_TEXTS[WRONG_NUMBER_OF_FIELDS]
        return _refused(place, f"{WRONG_NUMBER_OF_FIELDS}: {wrong.en} / {wrong.fa}")
    given = dict(zip(header, cells, strict=True))
    try:
        values = {name: _value(name, given[name], is_text=is_text) for name, is_text in question.fields.items()}
        request = question.request(**values)
        validation.validate(request)
    except ValueError as error:
        return _refused(place, str(error))
    except Refusal as refusal:
        return _refused(place, _zeros_lost(question, values) or refusal.summary())
    day, problem = None, ""
    try:
        if question.date_column and (text := given.get(question.date_column, "").strip()):
            day = dates.parse_past_date(text, now)
    except DateError as error:
        problem = f"{question.date_column} {error} / {error.problem.fa}"
    return Row(
        place,
        values,
        canonical(request),
        day,
        problem,
        any(may_be_rounded(value) for value in values.values() if isinstance(value, str)),
    )


def _zeros_lost(question: Question, values: Mapping[str, str | int]) -> str:
    """Return the problem of a national number that would be valid with leading zeros, as its check digit shows."""
    texts = ((name, value) for name, value in values.items() if isinstance(value, str))
    found = (name for name, value in texts if validation.lacks_zeros(question.request, name, value))
    return next((_problem(ZEROS_LOST, name) for name in found), "")


def _refused(place: Place, problem: str) -> Row:
    return Row(place, {}, None, problem=problem)


def _problem(reason: str, column: str) -> str:
    text = CELL_TEXTS[reason]
    return f"{reason}: {column} {text.en} / {text.fa}"


def _value(name: str, cell: str, *, is_text: bool) -> str | int:
    """Return the value of the field *name*, a text or a whole number, in *cell*.

    Raises:
        ValueError: the cell can't be such a value; the text is the row's problem.
    """
    if is_text and cell.isascii() and cell.isdigit():
        return cell
    plain = read_code(cell)
    if reason := SPREADSHEET_VALUE if _SPREADSHEET_FORM.fullmatch(plain) else damage(plain):
        raise ValueError(_problem(reason, name))
    if is_text:
        return read_digits(plain)
    try:
        return parse_amount(plain)
    except TooLargeError:
        raise ValueError(_problem(NUMBER_TOO_LARGE, name)) from None
    except ValueError:
        raise ValueError(_problem(NOT_A_WHOLE_NUMBER, name)) from None


@dataclass(slots=True)
class Rounding(RoundingCount):
    """The rows of a list whose identifiers a spreadsheet may have rounded or shortened."""

    rows: list[int] = field(default_factory=list)
    """The first rows with an identifier that ends in zeros from its 16th digit on."""
    changed_rows: list[int] = field(default_factory=list)
    changed: int = 0
    zeros_rows: list[int] = field(default_factory=list)
    zeros: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether chance explains the count less than once in ten times; a doubt costs less than a wrong NO."""
        return self.log_chance < -1

    def add(self, row: Row) -> None:
        """Count *row*."""
        if row.problem.startswith(SPREADSHEET_VALUE):
            self.changed += 1
            _keep(self.changed_rows, row)
        if row.problem.startswith(ZEROS_LOST):
            self.zeros += 1
            _keep(self.zeros_rows, row)
        if row.maybe_rounded:
            self.count += 1
            _keep(self.rows, row)
        for value in row.cells.values():
            if isinstance(value, str):
                self.add_identifiers(len(value))

    def judge(self, row: Row) -> Row:
        """Return *row*, marked as rounded only if the whole list is doubtful; every row must have been added."""
        if not row.maybe_rounded:
            return row
        doubtful = self.is_doubtful
        return replace(row, maybe_rounded=doubtful, problem=MAYBE_ROUNDED if doubtful else row.problem)

    def warnings(self) -> Iterator[str]:
        """Yield what to tell the operator before anything is asked."""
        if self.is_doubtful:
            yield (
                f"{_rows(self.count, self.rows)}: an identifier ends in zeros from its 16th digit on, as a spreadsheet"
                " rounds long numbers; export the column as text, or compare these rows with their documents"
            )
        if self.changed:
            yield (
                f"{_rows(self.changed, self.changed_rows)}: a value is what a spreadsheet makes of a long number;"
                " these rows are not asked; export the column as text"
            )
        if self.zeros:
            yield (
                f"{_rows(self.zeros, self.zeros_rows)}: an identifier is valid with leading zeros, which a spreadsheet"
                " drops; these rows are not asked; export the column as text"
            )


def _keep(rows: list[int], row: Row) -> None:
    if len(rows) < SHOWN_ROWS:
        rows.append(row.place.row)


def _rows(count: int, shown: Iterable[int]) -> str:
    named = ", ".join(map(str, shown))
    return f"{count:,} {'row' if count == 1 else 'rows'} ({named}{', ...' if count > SHOWN_ROWS else ''})"
