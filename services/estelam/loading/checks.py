"""Checks that a row must pass to be loaded; each runs over a whole column."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from estelam.loading.rules import FieldRules

INT64_MAX = 2**63 - 1

Mask = Any
"""A column of booleans."""
Columns = Mapping[str, Any]
"""The columns of a batch of rows, by name; all values are text."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check; its reasons are constant texts that contain no value of the row."""

    column: str
    suspect: Callable[[Columns], Mask]
    """Returns true for the rows that may fail."""
    reason: Callable[[Columns, int], str | None]
    """Returns why the row with this index is rejected; None if it passes."""


def reject_where(column: str, reason: str, failed: Callable[[Columns], Mask]) -> Check:
    """Reject the rows where *failed* is true."""
    return Check(column, failed, lambda _columns, _index: reason)


def contract_rules(column: str, message: type[Message], field: str, *, optional: bool = False) -> Check:
    """Apply the contract's rules for *field* of *message*; an optional column may be empty."""
    rules = FieldRules(message, field)

    def suspect(columns: Columns) -> Mask:
        values = columns[column]
        return pc.and_(pc.not_equal(values, ""), rules.suspect(values)) if optional else rules.suspect(values)

    return Check(column, suspect, lambda columns, index: rules.violation(columns[column][index].as_py()))


def contract_amount(column: str, message: type[Message], field: str) -> Check:
    """Apply the contract's rules for the integer *field* of *message*; use it after `whole_number`."""
    rules = FieldRules(message, field)
    return Check(
        column,
        lambda columns: rules.suspect(numbers(columns[column])),
        lambda columns, index: rules.violation(numbers(columns[column])[index].as_py()),
    )


def text(column: str, *, at_most: int = 200, optional: bool = False) -> Check:
    """Require text that is not blank, not longer than *at_most* characters and without control characters.

    An optional column may be empty.
    """

    def failed(columns: Columns) -> Mask:
        text = columns[column]
        blank = pc.equal(pc.utf8_trim_whitespace(text), "")
        if optional:
            blank = pc.and_(blank, pc.not_equal(text, ""))
        long = pc.greater(pc.utf8_length(text), at_most)
        return pc.or_(pc.or_(blank, long), pc.match_substring_regex(text, "[\\x00-\\x1f]"))

    return reject_where(column, "NOT_A_TEXT", failed)


def one_of(column: str, allowed: frozenset[str]) -> Check:
    """Require one of the *allowed* values."""
    known = pa.array(sorted(allowed), pa.string())
    return reject_where(column, "NOT_A_KNOWN_WORD", lambda columns: pc.invert(pc.is_in(columns[column], known)))


def iso_date(column: str, *, optional: bool = False) -> Check:
    """Require a Gregorian date, YYYY-MM-DD; an optional column may be empty."""

    def failed(columns: Columns) -> Mask:
        # Dates repeat, so each distinct one is parsed once.
        days = pc.dictionary_encode(columns[column])
        invalid = [not (optional and text == "") and not _is_iso_date(text) for text in days.dictionary.to_pylist()]
        return pc.take(pa.array(invalid, pa.bool_()), days.indices)

    return reject_where(column, "NOT_A_DATE", failed)


def _is_iso_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def matching(column: str, reason: str, expression: str) -> Check:
    """Require a full match with the regular *expression*; it allows the empty text if the column is optional."""
    return reject_where(
        column, reason, lambda columns: pc.invert(pc.match_substring_regex(columns[column], f"^(?:{expression})$"))
    )


def whole_number(column: str) -> Check:
    """Require a non-negative int64 in ASCII digits."""
    return reject_where(column, "NOT_A_WHOLE_NUMBER", lambda columns: pc.invert(_is_whole_number(columns[column])))


def numbers(text: Any) -> Any:
    """Convert a column of text to int64; 0 where a value is not a whole number."""
    return pc.cast(pc.if_else(_is_whole_number(text), text, "0"), pa.int64())


def _is_whole_number(text: Any) -> Mask:
    digits = pc.match_substring_regex(text, "^[0-9]{1,19}$")
    # Digit strings of equal length compare as their numbers do.
    in_range = pc.or_(pc.less(pc.binary_length(text), 19), pc.less_equal(text, str(INT64_MAX)))
    return pc.and_(digits, in_range)
