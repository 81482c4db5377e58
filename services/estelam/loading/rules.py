"""The contract's rules for one field, evaluated over a whole column.

The rules are read from the field's options, so that none is written twice, and evaluated column-wise as a filter.
Values that fail the filter, and all values if a rule is written in CEL that the filter does not support, are validated
by protovalidate one by one. Its verdict is final.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import Message

from estelam.core import validation
from estelam.core.cel import UnsupportedExpressionError
from estelam.core.field_rules import Bound, rules_of
from estelam.loading import cel

ColumnPredicate = Callable[[Any], Any]

_BOUNDS = {">": pc.greater, ">=": pc.greater_equal, "<": pc.less, "<=": pc.less_equal}


class FieldRules:
    """The contract's rules for the field *name* of *message*."""

    def __init__(self, message: type[Message], name: str) -> None:
        self._message = message
        self._name = name
        self._predicates = _predicates(message, name)

    def suspect(self, column: Any) -> Any:
        """Return a boolean column: true for each value of *column* that is not known to satisfy the rules."""
        if self._predicates is None:
            return pa.array([True] * len(column), pa.bool_())
        try:
            results = [predicate(column) for predicate in self._predicates]
        except pa.ArrowInvalid:  # A number overflowed its type.
            return pa.array([True] * len(column), pa.bool_())
        valid: Any = pa.array([True] * len(column), pa.bool_())
        for result in results:
            valid = pc.and_(valid, pc.fill_null(result, fill_value=False))
        return pc.invert(valid)

    def violation(self, value: Any) -> str | None:
        """Return the contract's message for the first rule that *value* violates; None if it is valid."""
        return validation.field_violation(self._message, self._name, value)


def _predicates(message: type[Message], name: str) -> list[ColumnPredicate] | None:
    """Return the column-wise form of the rules; None if some rule has none."""
    try:
        return [_bound(rule) if isinstance(rule, Bound) else cel.compile_rule(rule) for rule in rules_of(message, name)]
    except UnsupportedExpressionError:
        return None


def _bound(bound: Bound) -> ColumnPredicate:
    return lambda column: _BOUNDS[bound.operator](column, bound.limit)
