"""What a row must keep to be loaded, each check said once and run over a whole column."""

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
"""The text columns of a batch of rows, by name."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that may be wrong with a row; reasons are constant, the row's values stand nowhere in them."""

    column: str
    suspect: Callable[[Columns], Mask]
    """True for the rows that may break it."""
    reason: Callable[[Columns, int], str | None]
    """Why the row at this place is refused; None where it is not."""


def reject_where(column: str, reason: str, broken: Callable[[Columns], Mask]) -> Check:
    """Refuse the rows where *broken* is true."""
    return Check(column, broken, lambda _columns, _place: reason)


def contract_rules(column: str, message: type[Message], field: str, *, optional: bool = False) -> Check:
    """The contract's rules for *field* of *message*; an optional column may be empty."""
    rules = FieldRules(message, field)

    def doubtful(columns: Columns) -> Mask:
        values = columns[column]
        return pc.and_(pc.not_equal(values, ""), rules.suspect(values)) if optional else rules.suspect(values)

    return Check(column, doubtful, lambda columns, place: rules.violation(columns[column][place].as_py()))


def contract_amount(column: str, message: type[Message], field: str) -> Check:
    """The contract's rules for the whole number *field* of *message*; it comes after `whole_number`."""
    rules = FieldRules(message, field)
    return Check(
        column,
        lambda columns: rules.suspect(numbers(columns[column])),
        lambda columns, place: rules.violation(numbers(columns[column])[place].as_py()),
    )


def text(column: str, *, at_most: int = 200) -> Check:
    """A text, not empty and without control characters."""

    def broken(columns: Columns) -> Mask:
        text = columns[column]
        blank = pc.equal(pc.utf8_trim_whitespace(text), "")
        long = pc.greater(pc.utf8_length(text), at_most)
        return pc.or_(pc.or_(blank, long), pc.match_substring_regex(text, "[\\x00-\\x1f]"))

    return reject_where(column, "NOT_A_TEXT", broken)


def one_of(column: str, allowed: frozenset[str]) -> Check:
    """One of the *allowed* words."""
    known = pa.array(sorted(allowed), pa.string())
    return reject_where(column, "NOT_A_KNOWN_WORD", lambda columns: pc.invert(pc.is_in(columns[column], known)))


def iso_date(column: str, *, optional: bool = False) -> Check:
    """A Gregorian date as YYYY-MM-DD; an optional column may be empty."""

    def broken(columns: Columns) -> Mask:
        # Days repeat: each that occurs is judged once.
        days = pc.dictionary_encode(columns[column])
        judged = [not (optional and text == "") and not _is_day(text) for text in days.dictionary.to_pylist()]
        return pc.take(pa.array(judged, pa.bool_()), days.indices)

    return reject_where(column, "NOT_A_DATE", broken)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def matching(column: str, reason: str, expression: str) -> Check:
    """A text of the form that the regular *expression* describes."""
    return reject_where(
        column, reason, lambda columns: pc.invert(pc.match_substring_regex(columns[column], f"^(?:{expression})$"))
    )


def whole_number(column: str) -> Check:
    """An int64 in ASCII digits."""
    return reject_where(column, "NOT_A_WHOLE_NUMBER", lambda columns: pc.invert(_whole(columns[column])))


def numbers(text: Any) -> Any:
    """The int64 of each *text*; 0 where it is none."""
    return pc.cast(pc.if_else(_whole(text), text, "0"), pa.int64())


def _whole(text: Any) -> Mask:
    digits = pc.match_substring_regex(text, "^[0-9]{1,19}$")
    # Texts of the same length compare as the numbers do.
    small = pc.or_(pc.less(pc.binary_length(text), 19), pc.less_equal(text, str(INT64_MAX)))
    return pc.and_(digits, small)
