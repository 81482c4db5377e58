"""The contract's CEL over whole columns: as much of the language as its rules for strings are written in.

An expression becomes a function of a column of `this`. Arrow's logic of three values is CEL's own: what fails (`int` of
no number) is null, and `true || null` is true.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Env = Mapping[str, Any]
Node = Callable[[Env], Any]

_TOKEN = re.compile(r"\s*('[^'\\]*'|\"[^\"\\]*\"|\d+|\w+|\|\||&&|[=!<>]=|[^\s])")
_DIGITS = re.compile(r"\^\[0-9]\{([1-9]\d*)(?:,(\d+))?}\$")
_MOST_DIGITS = 18  # No number of so many can leave int64.


class NotUnderstoodError(Exception):
    """The expression uses more of CEL than is known here."""


@dataclass(frozen=True, slots=True)
class _Either:
    """What a condition chooses between, where that is no column: two lists."""

    condition: Any
    then: Any
    otherwise: Any


def compile_rule(expression: str) -> Callable[[Any], Any]:
    """*expression* as a function of the column that is `this`: true where it holds, false or null where it may not.

    Raises:
        NotUnderstoodError: the expression uses more of CEL than is known here.
    """
    parser = _Parser(expression)
    node = parser.expression()
    parser.expect("")
    return lambda column: node({"this": column})


def _or(left: Any, right: Node, env: Env) -> Any:
    # What is settled for every row is not computed further, as in CEL.
    return left if pc.all(left, skip_nulls=False).as_py() else pc.or_kleene(left, right(env))


def _rest(left: Any, right: Any) -> Any:
    return pc.subtract(left, pc.multiply(pc.divide_checked(left, right), right))


def _among(item: Any, items: Any) -> Any:
    if isinstance(items, _Either):
        return pc.if_else(items.condition, _among(item, items.then), _among(item, items.otherwise))
    found: Any = pa.scalar(value=False)
    for other in items:
        found = pc.or_kleene(found, pc.equal(item, other))
    return found


def _choose(condition: Any, then: Any, otherwise: Any) -> Any:
    if isinstance(then, list):
        return _Either(condition, then, otherwise)
    return pc.if_else(condition, then, otherwise)


# By how strongly each binds.
_BINARY: Mapping[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "||": (2, pc.or_kleene),
    "&&": (3, pc.and_kleene),
    "==": (4, pc.equal),
    "!=": (4, pc.not_equal),
    "<": (4, pc.less),
    "<=": (4, pc.less_equal),
    ">": (4, pc.greater),
    ">=": (4, pc.greater_equal),
    "in": (4, _among),
    "+": (5, pc.add_checked),
    "-": (5, pc.subtract_checked),
    "*": (6, pc.multiply_checked),
    "/": (6, pc.divide_checked),
    "%": (6, _rest),
}


class _Parser:
    def __init__(self, text: str) -> None:
        self._symbols: list[str] = [*_TOKEN.findall(text), ""]
        self._scope = {"this"}

    def expression(self, above: int = 0) -> Node:
        left = self._operand()
        while (power := self._power()) > above:
            operator = self._take()
            left = self._conditional(left) if operator == "?" else self._binary(operator, left, self.expression(power))
        return left

    def expect(self, symbol: str) -> None:
        if self._take() != symbol:
            raise NotUnderstoodError

    def _power(self) -> int:
        symbol = self._symbols[0]
        return 1 if symbol == "?" else _BINARY[symbol][0] if symbol in _BINARY else 0

    def _take(self) -> str:
        return self._symbols.pop(0)

    def _binary(self, operator: str, left: Node, right: Node) -> Node:
        compute = _BINARY[operator][1]
        if operator == "||":
            return lambda env: _or(left(env), right, env)
        return lambda env: compute(left(env), right(env))

    def _conditional(self, condition: Node) -> Node:
        then = self.expression()
        self.expect(":")
        otherwise = self.expression()
        return lambda env: _choose(condition(env), then(env), otherwise(env))

    def _operand(self) -> Node:
        symbol = self._take()
        if symbol == "!":
            negated = self._operand()
            return lambda env: pc.invert(negated(env))
        if symbol == "(":
            node = self.expression()
            self.expect(")")
        elif symbol == "[":
            node = self._list()
        elif symbol == "int":
            node = self._int()
        elif symbol in self._scope:
            node = lambda env: env[symbol]  # noqa: E731
        elif symbol[:1] in {"'", '"'} and symbol[1:]:
            text = pa.scalar(symbol[1:-1])
            node = lambda _env: text  # noqa: E731
        elif symbol.isdecimal():
            number = pa.scalar(int(symbol), pa.int64())
            node = lambda _env: number  # noqa: E731
        else:
            raise NotUnderstoodError
        while self._symbols[0] == ".":
            node = self._method(node)
        return node

    def _list(self) -> Node:
        items = [self.expression()]
        while self._symbols[0] == ",":
            self._take()
            items.append(self.expression())
        self.expect("]")
        return lambda env: [item(env) for item in items]

    def _int(self) -> Node:
        self.expect("(")
        text = self.expression()
        self.expect(")")
        return lambda env: _int(text(env))

    def _method(self, owner: Node) -> Node:
        self.expect(".")
        name = self._take()
        self.expect("(")
        if name == "size":
            self.expect(")")
            return lambda env: pc.cast(pc.utf8_length(owner(env)), pa.int64())
        if name == "matches":
            pattern = self._take()[1:-1]
            self.expect(")")
            return lambda env: _matches(owner(env), pattern)
        if name == "all":
            return self._all(owner)
        raise NotUnderstoodError

    def _all(self, owner: Node) -> Node:
        variable = self._take()
        self.expect(",")
        self._scope.add(variable)
        holds = self.expression()
        self.expect(")")

        def run(env: Env) -> Any:
            every: Any = pa.scalar(value=True)
            for item in owner(env):
                every = pc.and_kleene(every, holds({**env, variable: item}))
            return every

        return run


def _matches(text: Any, pattern: str) -> Any:
    if not (digits := _DIGITS.fullmatch(pattern)):
        return pc.match_substring_regex(text, pattern)
    # What most rules ask, and five times as fast.
    least = int(digits[1])
    length = pc.binary_length(text)
    long_enough = pc.and_(pc.greater_equal(length, least), pc.less_equal(length, int(digits[2] or least)))
    return pc.and_(pc.ascii_is_decimal(text), long_enough)


def _int(text: Any) -> Any:
    plain = _matches(text, f"^[0-9]{{1,{_MOST_DIGITS}}}$")
    return pc.cast(pc.if_else(plain, text, None), pa.int64())
