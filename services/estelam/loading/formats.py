"""Formats of columns: how the cells of a column are normalized and checked; each works on a whole column at a time.

A cell is normalized where only one thing can be meant: Persian and Arabic digits, Arabic yeh and kaf, blanks around a
value, dates in either calendar. Anything else is a reason to reject its row.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from estelam.core.dates import EARLIEST_DATE, LATEST_DATE, DateError, DateProblem, latest_past_date, parse_date
from estelam.core.normalize import find_invisible, normalize_identifier, normalize_name
from estelam.core.rounding import SPREADSHEET_FORM, SPREADSHEET_VALUE
from estelam.loading.rules import FieldRules

INT64_MAX = 2**63 - 1
MAX_TEXT = 200
"""Characters of a name, an address or another text."""

EMPTY = "EMPTY"
TOO_LONG = "TOO_LONG"
INVISIBLE_CHARACTER = "INVISIBLE_CHARACTER"
REPLACEMENT_CHARACTER = "REPLACEMENT_CHARACTER"
NOT_A_KNOWN_WORD = "NOT_A_KNOWN_WORD"
NOT_A_WHOLE_NUMBER = "NOT_A_WHOLE_NUMBER"

# Cells of these characters alone are in normal form. They are a quick filter: any other cell is looked at by itself.
_PRINTABLE_ASCII = bytes(range(0x21, 0x7F))
_NOT_PLAIN_CODE = "[^!-~]"
_NOT_PLAIN_TEXT = (
    "^ | $|[^ -~"
    r"\x{621}-\x{63a}\x{641}\x{642}\x{644}-\x{648}\x{67e}\x{686}\x{698}\x{6a9}\x{6af}\x{6cc}"  # Persian letters
    r"\x{660}-\x{669}\x{6f0}-\x{6f9}\x{60c}\x{61b}\x{61f}\x{ab}\x{bb}\x{200c}]"  # digits, punctuation, non-joiner
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SPREADSHEET_MARKS = (b"=", b"#", b"+", b".", b",", b"/", "\u066b".encode())
"""Each form that a spreadsheet makes of an identifier has one of these: a quick filter."""
_DATES_CACHED = 100_000

Reasons = dict[int, str]
"""Why rows are rejected, by their index; constant texts that contain no value of the row."""
Read = Callable[[Any, datetime], tuple[Any, Reasons]]
"""Takes a column of text and the present instant; returns the normalized column, and the rows to reject."""


@dataclass(frozen=True, slots=True)
class ColumnFormat:
    """How the cells of a column are read."""

    read: Read
    may_be_empty: bool = False
    omissible: bool = False
    """Whether a file may lack the column; all its cells are empty then."""
    parquet: Callable[[pa.DataType], bool] = lambda _type: False
    """Whether the column may have this type in Parquet, apart from text."""

    def or_absent(self) -> "ColumnFormat":
        """Return this format for a column that a file may lack."""
        return replace(self, omissible=True)


def identifier(message: type[Message], field: str, *, optional: bool = False) -> ColumnFormat:
    """An identifier that follows the contract's rules for *field* of *message*."""
    rules = FieldRules(message, field)

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _codes(column)
        suspects = rules.suspect(column)
        if optional:
            suspects = pc.and_(pc.not_equal(column, ""), suspects)
        for index in true_indices(suspects):
            if index not in reasons and (reason := rules.violation(column[index].as_py())):
                reasons[index] = reason
        return column, reasons

    return ColumnFormat(read, may_be_empty=optional)


def code(expression: str, reason: str, *, optional: bool = False) -> ColumnFormat:
    """A code that matches the regular *expression* completely; otherwise *reason*."""

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _codes(column)
        wrong = pc.invert(pc.match_substring_regex(column, f"^(?:{expression})$"))
        if optional:
            wrong = pc.and_(pc.not_equal(column, ""), wrong)
        return column, dict.fromkeys(true_indices(wrong), reason) | reasons

    return ColumnFormat(read, may_be_empty=optional)


def word(allowed: frozenset[str]) -> ColumnFormat:
    """One of the *allowed* words."""
    known = pa.array(sorted(allowed), pa.string())
    words = " or ".join([*sorted(allowed - {""}), *(["nothing"] if "" in allowed else [])])
    reason = f"{NOT_A_KNOWN_WORD}: give {words}"

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _codes(column)
        return column, dict.fromkeys(true_indices(pc.invert(pc.is_in(column, known))), reason) | reasons

    return ColumnFormat(read, may_be_empty="" in allowed)


def text(*, at_most: int = MAX_TEXT, optional: bool = False) -> ColumnFormat:
    """A text of one line with at most *at_most* characters, in Persian letters and without invisible characters."""
    return _bounded(lambda column: _normalize(column, _NOT_PLAIN_TEXT, normalize_name), at_most, optional=optional)


def case_number(*, at_most: int) -> ColumnFormat:
    """A number that may have letters; equal numbers in Persian and ASCII digits become the same text."""
    return _bounded(lambda column: _codes(column, lambda cell: normalize_name(_code(cell))), at_most, optional=False)


def _bounded(normalize: Callable[[Any], tuple[Any, Reasons]], at_most: int, *, optional: bool) -> ColumnFormat:
    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = normalize(column)
        if (pc.max(pc.binary_length(column)).as_py() or 0) > at_most:
            reasons |= dict.fromkeys(true_indices(pc.greater(pc.utf8_length(column), at_most)), TOO_LONG)
        if not optional:
            reasons |= dict.fromkeys(true_indices(pc.equal(column, "")), EMPTY)
        return column, reasons

    return ColumnFormat(read, may_be_empty=optional)


def whole_number() -> ColumnFormat:
    """A whole number from 0 to 2^63 - 1."""
    return ColumnFormat(_read_number, parquet=_is_number)


def amount(message: type[Message], field: str) -> ColumnFormat:
    """A whole number that follows the contract's rules for *field* of *message*."""
    rules = FieldRules(message, field)

    def read(column: Any, now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _read_number(column, now)
        values = numbers(column)
        for index in true_indices(rules.suspect(values)):
            if index not in reasons and (reason := rules.violation(values[index].as_py())):
                reasons[index] = reason
        return column, reasons

    return ColumnFormat(read, parquet=_is_number)


def past_date() -> ColumnFormat:
    """A date of something that has happened, from 1300-01-01 (Jalali) to a day after today in Iran."""
    return ColumnFormat(
        lambda column, now: _read_dates(column, latest_past_date(now), DateProblem.AFTER_TODAY), parquet=_is_date
    )


def any_date(*, optional: bool = False) -> ColumnFormat:
    """A date that may lie in the future, from 1300-01-01 (Jalali) to 2099-12-31."""

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        return _read_dates(column, LATEST_DATE, DateProblem.AFTER_2099, optional=optional)

    return ColumnFormat(read, may_be_empty=optional, parquet=_is_date)


def numbers(text: Any) -> Any:
    """Convert a column of text to int64; 0 where a value is not a whole number."""
    return pc.cast(pc.if_else(_is_whole_number(text), text, "0"), pa.int64())


def _read_number(column: Any, _now: datetime) -> tuple[Any, Reasons]:
    column, reasons = _codes(column)
    return column, dict.fromkeys(true_indices(pc.invert(_is_whole_number(column))), NOT_A_WHOLE_NUMBER) | reasons


def _is_whole_number(text: Any) -> Any:
    digits = pc.match_substring_regex(text, "^[0-9]{1,19}$")
    # Digit strings of equal length compare as their numbers do.
    in_range = pc.or_(pc.less(pc.binary_length(text), 19), pc.less_equal(text, str(INT64_MAX)))
    return pc.and_(digits, in_range)


def _read_dates(column: Any, latest: date, later: DateProblem, *, optional: bool = False) -> tuple[Any, Reasons]:
    # Dates repeat, so each distinct one is parsed once.
    encoded = pc.dictionary_encode(column)
    given = encoded.dictionary.to_pylist()
    days: list[str] = []
    problems: dict[int, str] = {}
    for index, cell in enumerate(given):
        day = _parsed(cell) if cell or not optional else None
        if isinstance(day, date) and not EARLIEST_DATE <= day <= latest:
            day = later if day > latest else DateProblem.BEFORE_1300
        if isinstance(day, DateProblem):
            problems[index] = day.name
        days.append(day.isoformat() if isinstance(day, date) else cell)
    reasons = {}
    if problems:
        wrong = pc.is_in(encoded.indices, pa.array(list(problems), pa.int32()))
        reasons = {index: problems[encoded.indices[index].as_py()] for index in true_indices(wrong)}
    return (column if days == given else pc.take(pa.array(days, pa.string()), encoded.indices)), reasons


@lru_cache(_DATES_CACHED)
def _parsed(cell: str) -> date | DateProblem:
    try:
        return parse_date(cell)
    except DateError as error:
        return error.problem


def _code(cell: str) -> str:
    # A control character within a code is damage, which must not be removed.
    return cell.strip() if _CONTROL.search(cell.strip()) else normalize_identifier(cell)


def _codes(column: Any, normalized: Callable[[str], str] = _code) -> tuple[Any, Reasons]:
    """Normalize the cells of a column of identifiers, words or numbers, and reject what a spreadsheet made of them."""
    column, reasons = _normalize(column, _NOT_PLAIN_CODE, normalized)
    content = bytes(column.buffers()[2] or b"")
    if any(mark in content for mark in _SPREADSHEET_MARKS):
        reasons |= dict.fromkeys(true_indices(pc.match_substring_regex(column, SPREADSHEET_FORM)), SPREADSHEET_VALUE)
    return column, reasons


def _normalize(column: Any, odd: str, normalized: Callable[[str], str]) -> tuple[Any, Reasons]:
    """Normalize the cells that match the regular expression *odd*, and return reasons for those that can't be."""
    if _is_printable_ascii(column):
        return column, {}
    mask = pc.match_substring_regex(column, odd)
    if not (indices := true_indices(mask)):
        return column, {}
    cells = [normalized(cell) for cell in column.filter(mask).to_pylist()]
    column = pc.replace_with_mask(column, mask, pa.array(cells, pa.string()))
    reasons = ((index, _damage(cell)) for index, cell in zip(indices, cells, strict=True))
    return column, {index: reason for index, reason in reasons if reason}


def _damage(cell: str) -> str | None:
    if find_invisible(cell) is not None:
        return INVISIBLE_CHARACTER
    return REPLACEMENT_CHARACTER if "\ufffd" in cell else None


def _is_printable_ascii(column: Any) -> bool:
    """Return whether all cells have only printable ASCII characters without blanks; False if it is not known."""
    data = column.buffers()[2]
    return data is None or not bytes(data).translate(None, _PRINTABLE_ASCII)


def true_indices(mask: Any) -> list[int]:
    """Return the indices at which *mask*, a column of booleans, is true."""
    return pc.indices_nonzero(mask).to_pylist() if pc.any(mask).as_py() else []


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None))
