"""Kinds of faults: each function takes a node of a syntax tree and yields the texts that replace it."""

import ast
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

Replacements = Iterator[str]
# Calls whose arguments may stand in any order, or make no difference to a caller.
_WITHOUT_ORDER = ("min", "max", "print", "isinstance", "TypeError", "ValueError")


def _comparison(node: ast.AST) -> Replacements:
    """The opposite comparison."""
    opposite = {
        ast.Eq: "!=",
        ast.NotEq: "==",
        ast.Lt: ">=",
        ast.LtE: ">",
        ast.Gt: "<=",
        ast.GtE: "<",
        ast.In: "not in",
        ast.NotIn: "in",
        ast.Is: "is not",
        ast.IsNot: "is",
    }
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield f"{_text(node.left)} {opposite[type(node.ops[0])]} {_text(node.comparators[0])}"


def _boundary(node: ast.AST) -> Replacements:
    """A comparison that includes its limit or not, and whole numbers one off."""
    if isinstance(node, ast.Compare):
        other = {ast.Lt: ast.LtE(), ast.LtE: ast.Lt(), ast.Gt: ast.GtE(), ast.GtE: ast.Gt()}
        for place, operator in enumerate(node.ops):
            if changed := other.get(type(operator)):
                operators = [*node.ops[:place], changed, *node.ops[place + 1 :]]
                yield ast.unparse(ast.Compare(node.left, operators, node.comparators))
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield f"{node.value + 1}"
        yield f"({node.value - 1})"


def _condition(node: ast.AST) -> Replacements:
    """A condition that always or never holds, one of its parts dropped, `and` for `or`, and a dropped `not`."""
    if isinstance(node, ast.BoolOp):
        for place in range(len(node.values)):
            rest = [value for at, value in enumerate(node.values) if at != place]
            yield _text(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))
        yield _text(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield _text(node.operand)


def _test(node: ast.AST) -> Replacements:
    """The test of an `if` that always or never holds."""
    if isinstance(node, ast.expr):
        yield "True"
        yield "False"


def _truncation(node: ast.AST) -> Replacements:
    """Texts compared without their last or first character, whole slices, and the part of a text that is lost."""
    if compared := _compared(node):
        left, sign, right = compared
        for part in ("[:-1]", "[1:]"):
            yield f"str({left}){part} {sign} str({right}){part}"
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load):
        yield _text(node.value)
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and node.attr.endswith(("_id", "serial")):
        yield f"{ast.unparse(node)}[:-1]"


def _type(node: ast.AST) -> Replacements:
    """Texts compared as numbers, whole numbers as floating point, and a value that is not converted."""
    if compared := _compared(node):
        left, sign, right = compared
        yield f"str({left}).lstrip('0') {sign} str({right}).lstrip('0')"
    if compared and "amount" in compared[0]:
        number = "(lambda value: float(value) if isinstance(value, int) else value)"
        yield f"{number}({left}) {sign} {number}({right})"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"int", "str", "round"}:
        yield "".join(map(_text, node.args[:1]))


def _arguments(node: ast.AST) -> Replacements:
    """Two neighbouring arguments of a call swapped."""
    if isinstance(node, ast.Call) and _text(node.func).rpartition(".")[2] not in _WITHOUT_ORDER:
        for place in range(len(node.args) - 1):
            args = [*node.args]
            args[place], args[place + 1] = args[place + 1], args[place]
            if ast.unparse(args[place]) != ast.unparse(args[place + 1]):
                yield ast.unparse(ast.Call(node.func, args, node.keywords))
        named = [keyword for keyword in node.keywords if keyword.arg is not None]
        for first, second in pairwise(named):
            swap = {first.arg: second.value, second.arg: first.value}
            keywords = [ast.keyword(each.arg, swap.get(each.arg, each.value)) for each in node.keywords]
            yield ast.unparse(ast.Call(node.func, node.args, keywords))


def _step(node: ast.AST) -> Replacements:
    """A statement left out: a call, a refusal, a change of what is stored."""
    is_call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant | ast.Yield)
    if is_call or isinstance(node, ast.Raise | ast.AugAssign):
        yield "pass"
    if isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name | ast.Tuple):
        yield "pass"


def _constant(node: ast.AST) -> Replacements:
    """A constant result, and a text without its last character."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str | bytes) and node.value:
            yield repr(node.value[:-1])
        if isinstance(node.value, bool):
            yield repr(not node.value)


def _result(node: ast.AST) -> Replacements:
    """A function's result that is always the same."""
    if isinstance(node, ast.Constant) and node.value is None:
        return
    if isinstance(node, ast.Compare | ast.BoolOp | ast.Call | ast.Name | ast.UnaryOp | ast.Constant | ast.Attribute):
        values = ("True", "False") if isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp) else ("None",)
        yield from values


def _arithmetic(node: ast.AST) -> Replacements:
    """The opposite operation."""
    opposite: Mapping[type[ast.operator], ast.operator] = {
        ast.Add: ast.Sub(),
        ast.Sub: ast.Add(),
        ast.Mult: ast.Div(),
        ast.Div: ast.Mult(),
        ast.FloorDiv: ast.Mult(),
        ast.BitAnd: ast.BitOr(),
        ast.BitOr: ast.BitAnd(),
        ast.LShift: ast.RShift(),
    }
    if isinstance(node, ast.BinOp) and (operator := opposite.get(type(node.op))):
        for each in (node.left, node.right):
            if isinstance(each, ast.Constant | ast.JoinedStr) and not isinstance(
                getattr(each, "value", ""), int | float
            ):
                return  # texts are only added
        yield ast.unparse(ast.BinOp(node.left, operator, node.right))


KINDS: Mapping[str, Callable[[ast.AST], Replacements]] = {
    "comparison": _comparison,
    "boundary": _boundary,
    "condition": _condition,
    "test": _test,
    "truncation": _truncation,
    "type": _type,
    "arguments": _arguments,
    "step": _step,
    "constant": _constant,
    "result": _result,
    "arithmetic": _arithmetic,
}


def _compared(node: ast.AST) -> tuple[str, str, str] | None:
    """Return the sides and the operator of an (in)equality of two values that have names."""
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq) or len(node.ops) > 1:
        return None
    sides = node.left, node.comparators[0]
    if not all(isinstance(side, ast.Name | ast.Attribute) for side in sides):
        return None
    return _text(sides[0]), "==" if isinstance(node.ops[0], ast.Eq) else "!=", _text(sides[1])


def _text(node: ast.AST) -> str:
    """Return an expression's text, in parentheses unless it is one word."""
    text = ast.unparse(node)
    return text if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Constant | ast.Subscript) else f"({text})"
