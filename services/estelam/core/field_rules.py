"""The contract's rules, read from its options, and a predicate made of them that is several times as fast as CEL.

The predicate only recognizes messages that keep every rule. About any other message protovalidate decides, as it does
where a rule is written in a part of CEL that is not supported here. So no rule is written twice.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import Message

from buf.validate import validate_pb2
from estelam.core import cel
from estelam.core.cel import UnsupportedExpressionError

_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# One class of characters, repeated: Python's fullmatch then means what RE2's match of ^...$ does.
_PATTERN = re.compile(r"\^(\[[0-9A-Za-z-]+]\{[0-9]+(?:,[0-9]+)?})\$")
_MAX_DIGITS = 18  # Every number with this many digits fits int64.


class Bound(NamedTuple):
    """A rule that compares an integer with *limit*."""

    operator: str
    limit: int


def rules_of(message: type[Message], name: str) -> Iterator[Bound | str]:
    """Yield each rule of the field *name* of *message*: a bound, or an expression in CEL.

    Raises:
        UnsupportedExpressionError: a rule is neither, or the message has rules of its own.
    """
    if message.DESCRIPTOR.GetOptions().HasExtension(validate_pb2.message):
        raise UnsupportedExpressionError
    for kind, rules in message.DESCRIPTOR.fields_by_name[name].GetOptions().Extensions[validate_pb2.field].ListFields():
        if kind.name not in {"string", "int64"}:
            raise UnsupportedExpressionError
        for rule, value in rules.ListFields():
            if kind.name == "int64" and rule.name in _BOUNDS:
                yield Bound(_BOUNDS[rule.name], value)
            elif value is True and (found := rule.GetOptions().Extensions[validate_pb2.predefined].cel):
                yield from (each.expression for each in found)
            else:
                raise UnsupportedExpressionError


def compile_predicate(kind: type[Message]) -> Callable[[Message], bool]:
    """Return a function that returns True only for a message of *kind* that keeps every rule of the contract."""
    form = _Python()
    try:
        # Fields are named as the contract names them, and all else is text that `_Python` wrote.
        source = " and ".join(_source(kind, field.name, form) for field in kind.DESCRIPTOR.fields)
    except UnsupportedExpressionError:
        return lambda _message: False
    holds = eval(f"lambda message: {source or True}", {"integer": _integer, **form.names})  # noqa: S307 - see above

    def predicate(message: Message) -> bool:
        try:
            return bool(holds(message))
        except (ValueError, ArithmeticError):
            return False

    return predicate


def _source(kind: type[Message], name: str, form: "_Python") -> str:
    field = kind.DESCRIPTOR.fields_by_name[name]
    if field.has_presence or field.is_repeated:
        raise UnsupportedExpressionError
    rules = [
        f"this {rule.operator} {rule.limit}" if isinstance(rule, Bound) else cel.parse(rule, form)
        for rule in rules_of(kind, name)
    ]
    return " and ".join([f"(this := message.{name}) is not None", *rules])


def _integer(text: str) -> int:
    """Return the number that *text* writes in ASCII digits.

    Raises:
        ValueError: it is another text, of which CEL may say otherwise.
    """
    if len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    raise ValueError


class _Python:
    """Python source with the meaning of an expression, and the names that it uses.

    Numbers are never negative, for which Python divides otherwise: there is no subtraction.
    """

    _OPERATORS = {"||": "or", "&&": "and", "/": "//"} | {
        same: same for same in ("==", "!=", "<", "<=", ">", ">=", "in", "+", "*", "%")
    }

    def __init__(self) -> None:
        self.names: dict[str, Any] = {}

    def variable(self, name: str) -> str:
        return name

    def text(self, value: str) -> str:
        return repr(value)

    def number(self, value: int) -> str:
        return str(value)

    def listed(self, items: Sequence[str]) -> str:
        return f"({', '.join(items)},)"

    def inverted(self, operand: str) -> str:
        return f"(not {operand})"

    def binary(self, operator: str, left: str, right: str) -> str:
        if operator not in self._OPERATORS:
            raise UnsupportedExpressionError
        return f"({left} {self._OPERATORS[operator]} {right})"

    def conditional(self, condition: str, then: str, otherwise: str) -> str:
        return f"({then} if {condition} else {otherwise})"

    def integer(self, text: str) -> str:
        return f"integer({text})"

    def size(self, owner: str) -> str:
        return f"len({owner})"

    def matches(self, owner: str, pattern: str) -> str:
        if (found := _PATTERN.fullmatch(pattern)) is None:
            raise UnsupportedExpressionError
        name = f"pattern_{len(self.names)}"
        self.names[name] = re.compile(found[1]).fullmatch
        return f"({name}({owner}) is not None)"

    def every(self, owner: str, variable: str, predicate: str) -> str:
        return f"all([{predicate} for {variable} in {owner}])"
