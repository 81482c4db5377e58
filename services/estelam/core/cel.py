"""Parse CEL: the subset in which the contract's rules are written.

What an expression becomes is up to a `Form`: a function over columns (`estelam.loading.cel`), or Python
(`estelam.core.field_rules`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Generic, Protocol, TypeVar

Node = TypeVar("Node")

_TOKEN = re.compile(r"\s*('[^'\\]*'|\"[^\"\\]*\"|\d+|\w+|\|\||&&|[=!<>]=|[^\s])")

_PRECEDENCE: Mapping[str, int] = {
    "?": 1,
    "||": 2,
    "&&": 3,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 4),
    **dict.fromkeys("+-", 5),
    **dict.fromkeys("*/%", 6),
}


class UnsupportedExpressionError(Exception):
    """The expression uses a part of CEL that is not supported here."""


class Form(Protocol[Node]):
    """Makes the parts of an expression; each method may raise an UnsupportedExpressionError."""

    def variable(self, name: str) -> Node:
        """The variable *name*: `this`, or that of `all`."""

    def text(self, value: str) -> Node:
        """A string."""

    def number(self, value: int) -> Node:
        """An integer."""

    def listed(self, items: Sequence[Node]) -> Node:
        """A list of at least one item."""

    def inverted(self, operand: Node) -> Node:
        """`!operand`."""

    def binary(self, operator: str, left: Node, right: Node) -> Node:
        """`left operator right`."""

    def conditional(self, condition: Node, then: Node, otherwise: Node) -> Node:
        """`condition ? then : otherwise`."""

    def integer(self, text: Node) -> Node:
        """`int(text)`."""

    def size(self, owner: Node) -> Node:
        """`owner.size()`."""

    def matches(self, owner: Node, pattern: str) -> Node:
        """`owner.matches(pattern)`."""

    def every(self, owner: Node, variable: str, predicate: Node) -> Node:
        """`owner.all(variable, predicate)`."""


def parse(expression: str, form: Form[Node]) -> Node:
    """Return *expression* in *form*.

    Raises:
        UnsupportedExpressionError: the expression uses a part of CEL that is not supported.
    """
    parser = _Parser(expression, form)
    node = parser.expression()
    parser.expect("")
    return node


class _Parser(Generic[Node]):
    """Recursive-descent parser."""

    def __init__(self, text: str, form: Form[Node]) -> None:
        self._symbols: list[str] = [*_TOKEN.findall(text), ""]
        self._scope = {"this"}
        self._form = form

    def expression(self, min_precedence: int = 0) -> Node:
        left = self._operand()
        while (precedence := _PRECEDENCE.get(self._symbols[0], 0)) > min_precedence:
            operator = self._take()
            left = (
                self._conditional(left)
                if operator == "?"
                else self._form.binary(operator, left, self.expression(precedence))
            )
        return left

    def expect(self, symbol: str) -> None:
        if self._take() != symbol:
            raise UnsupportedExpressionError

    def _take(self) -> str:
        return self._symbols.pop(0)

    def _conditional(self, condition: Node) -> Node:
        then = self.expression()
        self.expect(":")
        return self._form.conditional(condition, then, self.expression())

    def _operand(self) -> Node:
        symbol = self._take()
        if symbol == "!":
            return self._form.inverted(self._operand())
        if symbol == "(":
            node = self.expression()
            self.expect(")")
        elif symbol == "[":
            node = self._form.listed(self._items())
        elif symbol == "int":
            self.expect("(")
            node = self._form.integer(self.expression())
            self.expect(")")
        elif symbol in self._scope:
            node = self._form.variable(symbol)
        elif symbol[:1] in {"'", '"'} and symbol[1:]:
            node = self._form.text(symbol[1:-1])
        elif symbol.isdecimal():
            node = self._form.number(int(symbol))
        else:
            raise UnsupportedExpressionError
        while self._symbols[0] == ".":
            node = self._method(node)
        return node

    def _items(self) -> list[Node]:
        items = [self.expression()]
        while self._symbols[0] == ",":
            self._take()
            items.append(self.expression())
        self.expect("]")
        return items

    def _method(self, owner: Node) -> Node:
        self.expect(".")
        name = self._take()
        self.expect("(")
        if name == "size":
            node = self._form.size(owner)
        elif name == "matches":
            node = self._form.matches(owner, self._take()[1:-1])
        elif name == "all":
            variable = self._take()
            self.expect(",")
            self._scope.add(variable)
            node = self._form.every(owner, variable, self.expression())
        else:
            raise UnsupportedExpressionError
        self.expect(")")
        return node
