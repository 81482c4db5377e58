"""The contract's rules for one field, run over a whole column: no rule lives twice, not even for speed.

The rules are read from the field's options and computed column-wise. That serves only as a sieve: what does not pass,
or is written in CEL that the sieve does not know, goes to protovalidate row by row, which has the last word.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor_pb2 import FieldOptions
from google.protobuf.message import Message

from buf.validate import validate_pb2
from estelam.core import validation
from estelam.core.errors import Refusal
from estelam.loading import cel

ColumnPredicate = Callable[[Any], Any]

_BOUNDS = {"gt": pc.greater, "gte": pc.greater_equal, "lt": pc.less, "lte": pc.less_equal}


class FieldRules:
    """What the contract asks of the field *name* of *message*."""

    def __init__(self, message: type[Message], name: str) -> None:
        self._message = message
        self._name = name
        self._parts = _sieves(message, name)

    def suspect(self, column: Any) -> Any:
        """True for each value of *column* that is not known to keep the rules."""
        if self._parts is None:
            return pa.array([True] * len(column))
        try:
            kept = [part(column) for part in self._parts]
        except pa.ArrowInvalid:  # A number left its type's range.
            return pa.array([True] * len(column))
        certain: Any = pa.array([True] * len(column))
        for mask in kept:
            certain = pc.and_(certain, pc.fill_null(mask, fill_value=False))
        return pc.invert(certain)

    def violation(self, value: Any) -> str | None:
        """The first rule that *value* breaks, in the contract's words; None where it keeps them all."""
        try:
            validation.validate(self._message(**{self._name: value}))
        except Refusal as refusal:
            return next((found.description for found in refusal.violations if found.field == self._name), None)
        return None


def _sieves(message: type[Message], name: str) -> list[ColumnPredicate] | None:
    descriptor = message.DESCRIPTOR
    if descriptor.GetOptions().HasExtension(validate_pb2.message):
        return None
    try:
        return list(_field_sieves(descriptor.fields_by_name[name].GetOptions()))
    except cel.NotUnderstoodError:
        return None


def _field_sieves(options: FieldOptions) -> Iterator[ColumnPredicate]:
    for kind, rules in options.Extensions[validate_pb2.field].ListFields():
        if kind.name not in {"string", "int64"}:
            raise cel.NotUnderstoodError
        for rule, value in rules.ListFields():
            if kind.name == "int64" and rule.name in _BOUNDS:
                yield _bound(rule.name, value)
            elif value is True and (found := rule.GetOptions().Extensions[validate_pb2.predefined].cel):
                yield from (cel.compile_rule(each.expression) for each in found)
            else:
                raise cel.NotUnderstoodError


def _bound(name: str, limit: int) -> ColumnPredicate:
    return lambda column: _BOUNDS[name](column, limit)
