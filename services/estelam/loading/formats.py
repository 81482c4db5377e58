"""Formats of columns: how the cells of a column are normalized and checked; each works on a whole column at a time.

A cell is normalized where only one thing can be meant: Persian and Arabic digits, Arabic yeh and kaf, blanks around a
value, dates in either calendar. Anything else is a reason to reject its row.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from estelam.core import validation
from estelam.core.cells import (
    NOT_A_WHOLE_NUMBER,
    NUMBER_TOO_LARGE,
    SPREADSHEET_FORM,
    SPREADSHEET_VALUE,
    ZEROS_LOST,
    damage,
    read_code,
    read_digits,
)
from estelam.core.dates import EARLIEST_DATE, LATEST_DATE, DateError, DateProblem, latest_past_date, parse_date
from estelam.core.normalize import INT64_MAX, TooLargeError, normalize_name, parse_amount
from estelam.loading.rules import FieldRules

MAX_TEXT = 200
"""Characters of a name, an address or another text."""

EMPTY = "EMPTY"
TOO_LONG = "TOO_LONG"
NOT_A_KNOWN_WORD = "NOT_A_KNOWN_WORD"

# Cells of these characters alone are in normal form. They are a quick filter: any other cell is looked at by itself.
_PRINTABLE_ASCII = bytes(range(0x21, 0x7F))
_DIGITS = b"0123456789"
_NOT_PLAIN_CODE = "[^!-~]"
_NOT_PLAIN_TEXT = (
    "^ | $|[^ -~"
    r"\x{621}-\x{63a}\x{641}\x{642}\x{644}-\x{648}\x{67e}\x{686}\x{698}\x{6a9}\x{6af}\x{6cc}"  # Persian letters
    r"\x{660}-\x{669}\x{6f0}-\x{6f9}\x{60c}\x{61b}\x{61f}\x{ab}\x{bb}\x{200c}]"  # digits, punctuation, non-joiner
)
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


def identifier(
    message: type[Message], field: str, *, optional: bool = False, has_letters: bool = False
) -> ColumnFormat:
    """An identifier that follows the contract's rules for *field* of *message*; of digits, unless it *has_letters*."""
    rules = FieldRules(message, field)

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _codes(column) if has_letters else _digits(column)
        suspects = rules.suspect(column)
        if optional:
            suspects = pc.and_(pc.not_equal(column, ""), suspects)
        for index in true_indices(suspects):
            value = column[index].as_py()
            if index not in reasons and (reason := rules.violation(value)):
                reasons[index] = ZEROS_LOST if validation.lacks_zeros(message, field, value) else reason
        return column, reasons

    return ColumnFormat(read, may_be_empty=optional)


def digits(number: int, reason: str, *, optional: bool = False) -> ColumnFormat:
    """A code of *number* digits; otherwise *reason*."""

    def read(column: Any, _now: datetime) -> tuple[Any, Reasons]:
        column, reasons = _digits(column)
        wrong = pc.invert(pc.match_substring_regex(column, f"^[0-9]{{{number}}}$"))
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
    return _bounded(
        lambda column: _codes(column, lambda cell: normalize_name(read_code(cell))), at_most, optional=False
    )


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
    if _has_only(column, _DIGITS) and pc.all(_is_whole_number(column), min_count=0).as_py():
        return column, {}
    column, reasons = _codes(column)
    mask = pc.invert(_is_whole_number(column))
    figures = []
    for index, cell in zip(true_indices(mask), column.filter(mask).to_pylist(), strict=True):
        try:
            figures.append(str(parse_amount(cell)))
        except ValueError as error:
            figures.append(cell)
            reason = NUMBER_TOO_LARGE if isinstance(error, TooLargeError) else NOT_A_WHOLE_NUMBER
            reasons.setdefault(index, reason if cell else EMPTY)
    return (pc.replace_with_mask(column, mask, pa.array(figures, pa.string())) if figures else column), reasons


def _is_whole_number(text: Any) -> Any:
    digits = pc.match_substring_regex(text, "^(?:0|[1-9][0-9]{0,18})$")
    # Digit strings of equal length compare as their numbers do.
    in_range = pc.or_(pc.less(pc.binary_length(text), 19), pc.less_equal(text, str(INT64_MAX)))
    return pc.and_(digits, in_range)


def _read_dates(column: Any, latest: date, later: DateProblem, *, optional: bool = False) -> tuple[Any, Reasons]:
    if _are_iso_dates(column, latest):
        return column, {}
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
            problems[index] = day.name if cell.strip() else EMPTY
        days.append(day.isoformat() if isinstance(day, date) else cell)
    reasons = {}
    if problems:
        wrong = pc.is_in(encoded.indices, pa.array(list(problems), pa.int32()))
        reasons = {index: problems[encoded.indices[index].as_py()] for index in true_indices(wrong)}
    return (column if days == given else pc.take(pa.array(days, pa.string()), encoded.indices)), reasons


def _are_iso_dates(column: Any, latest: date) -> bool:
    """Return whether all cells are Gregorian dates in ISO form, from 1300-01-01 (Jalali) to *latest*."""
    try:
        bounds = pc.min_max(column.cast(pa.date32())).as_py()
    except pa.ArrowInvalid:
        return False
    return len(column) > 0 and bounds["min"] >= EARLIEST_DATE and bounds["max"] <= latest


@lru_cache(_DATES_CACHED)
def _parsed(cell: str) -> date | DateProblem:
    try:
        return parse_date(cell)
    except DateError as error:
        return error.problem


def _digits(column: Any) -> tuple[Any, Reasons]:
    """Normalize the cells of a column of codes of digits, as `_codes` does, without separators between the digits."""
    if _has_only(column, _DIGITS):
        return column, {}
    column, reasons = _codes(column)
    column, damaged = _normalize(column, "[^0-9]", read_digits, plain=_DIGITS)
    return column, damaged | reasons


def _codes(column: Any, normalized: Callable[[str], str] = read_code) -> tuple[Any, Reasons]:
    """Normalize the cells of a column of identifiers, words or numbers, and reject what a spreadsheet made of them."""
    column, reasons = _normalize(column, _NOT_PLAIN_CODE, normalized)
    content = bytes(column.buffers()[2] or b"")
    if any(mark in content for mark in _SPREADSHEET_MARKS):
        reasons |= dict.fromkeys(true_indices(pc.match_substring_regex(column, SPREADSHEET_FORM)), SPREADSHEET_VALUE)
    return column, reasons


def _normalize(
    column: Any, odd: str, normalized: Callable[[str], str], plain: bytes = _PRINTABLE_ASCII
) -> tuple[Any, Reasons]:
    """Normalize the cells that match the regular expression *odd*, and return reasons for those that can't be.

    A column of the characters *plain* alone has no such cell.
    """
    if _has_only(column, plain):
        return column, {}
    mask = pc.match_substring_regex(column, odd)
    if not (indices := true_indices(mask)):
        return column, {}
    cells = [normalized(cell) for cell in column.filter(mask).to_pylist()]
    column = pc.replace_with_mask(column, mask, pa.array(cells, pa.string()))
    reasons = ((index, damage(cell)) for index, cell in zip(indices, cells, strict=True))
    return column, {index: reason for index, reason in reasons if reason}


def _has_only(column: Any, characters: bytes) -> bool:
    """Return whether all cells have only these ASCII *characters*; False if it is not known."""
    data = column.buffers()[2]
    return data is None or not bytes(data).translate(None, characters)


def true_indices(mask: Any) -> list[int]:
    """Return the indices at which *mask*, a column of booleans, is true."""
    return pc.indices_nonzero(mask).to_pylist() if pc.any(mask).as_py() else []


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_date(kind: pa.DataType) -> bool:
    return bool(pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None))
