"""The contract's rules for one field, evaluated over a whole column.

The rules are read from the field's options, so that none is written twice, and evaluated column-wise as a filter.
Values that fail the filter, and all values if a rule is written in CEL that the filter does not support, are validated
by protovalidate one by one. Its verdict is final.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.message import Message

from buf.validate import validate_pb2
from estelam.core import validation
from estelam.loading import cel

ColumnPredicate = Callable[[Any], Any]

_BOUNDS = {"gt": pc.greater, "gte": pc.greater_equal, "lt": pc.less, "lte": pc.less_equal}


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
    descriptor = message.DESCRIPTOR
    if descriptor.GetOptions().HasExtension(validate_pb2.message):
        return None
    try:
        return list(_field_predicates(descriptor.fields_by_name[name].GetOptions()))
    except cel.UnsupportedExpressionError:
        return None


def _field_predicates(options: FieldOptions) -> Iterator[ColumnPredicate]:
    for kind, rules in options.Extensions[validate_pb2.field].ListFields():
        if kind.name not in {"string", "int64"}:
            raise cel.UnsupportedExpressionError
        for rule, value in rules.ListFields():
            if kind.name == "int64" and rule.name in _BOUNDS:
                yield _bound(rule.name, value)
            elif value is True and (found := rule.GetOptions().Extensions[validate_pb2.predefined].cel):
                yield from (cel.compile_rule(each.expression) for each in found)
            else:
                raise cel.UnsupportedExpressionError


def _bound(name: str, limit: int) -> ColumnPredicate:
    return lambda column: _BOUNDS[name](column, limit)
