"""Generated mutants: every fault of every kind that a module's syntax tree allows."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.conformance.mutants.kinds import KINDS, Replacements

SURVIVORS = Path(__file__).parent / "survivors.yaml"
_CACHE = """
def CACHED(function, key, results={}):
    import functools, inspect
    if inspect.iscoroutinefunction(function):
        async def cached(*values, **named):
            place = function, key(values, named)
            if place not in results:
                results[place] = await function(*values, **named)
            return results[place]
    else:
        def cached(*values, **named):
            place = function, key(values, named)
            if place not in results:
                results[place] = function(*values, **named)
            return results[place]
    return functools.wraps(function)(cached)
"""
_KEYS = (
    "lambda _values, _named: ()",
    "lambda values, named: repr(([getattr(value, 'request', value) for value in values], named))",
)


@dataclass(frozen=True)
class GeneratedMutant:
    """One fault in one place of a module."""

    id: str
    """module.function.kind.number; the number counts the faults of the kind in the function."""
    kind: str
    path: Path
    function: str
    line_number: int
    old: str
    new: str
    text: str
    """The module's text with the fault."""

    @property
    def program(self) -> str:
        """The program that the module is part of: the reference, or our services."""
        return "reference" if self.path.parent.name == "reference" else "product"

    @property
    def module(self) -> str:
        """The module's name."""
        return self.path.stem

    @property
    def fault(self) -> str:
        """What is replaced by what, in one line."""
        return f"{' '.join(self.old.split())}  =>  {' '.join(self.new.split())}"

    def source(self) -> str:
        """Return the module's text with the fault."""
        return self.text


@cache
def of_module(path: Path) -> tuple[GeneratedMutant, ...]:
    """Return the mutants of the module at *path*."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    found: list[GeneratedMutant] = []
    texts = set()
    for function, node in functions(tree):
        counts: Counter[str] = Counter()
        for kind, replaced, new in _faults(node):
            counts[kind] += 1
            faulty = _replace(text, replaced, new)
            if faulty not in texts and _compiles(faulty):
                texts.add(faulty)
                name = f"{path.stem}.{function}.{kind}.{counts[kind]}"
                old = ast.get_source_segment(text, replaced) or ""
                found.append(GeneratedMutant(name, kind, path, function, replaced.lineno, old, new, faulty))
        for number, key in enumerate(_KEYS if _is_cacheable(node) else (), start=1):
            faulty = _cached(text, tree, node, key)
            what = f"def {node.name}", f"def {node.name}, cached {'for equal requests' if number == 2 else 'for ever'}"
            name = f"{path.stem}.{function}.cache.{number}"
            found.append(GeneratedMutant(name, "cache", path, function, node.lineno, *what, faulty))
    return tuple(found)


def _is_cacheable(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    inner = list(ast.walk(function))
    has_result = any(isinstance(node, ast.Return) and node.value is not None for node in inner)
    return has_result and not any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inner)


def _cached(text: str, tree: ast.Module, function: ast.FunctionDef | ast.AsyncFunctionDef, key: str) -> str:
    lines = text.splitlines(keepends=True)
    lines.insert(function.lineno - 1, f"{' ' * function.col_offset}@(lambda function: CACHED(function, {key}))\n")
    lines.insert(tree.body[0].end_lineno or 0, _CACHE)  # after the module's docstring
    return "".join(lines)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions and methods of a module, each with its name; no constructors, whose faults all can see."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and method.name != "__init__":
                    yield f"{node.name}.{method.name}", method


def _faults(function: ast.AST) -> Iterator[tuple[str, ast.stmt | ast.expr, str]]:
    for node in _walk(function):
        for kind, fault in KINDS.items():
            if kind not in {"test", "result"}:
                yield from ((kind, node, new) for new in fault(node))
        if isinstance(node, ast.If | ast.IfExp):
            yield from _named("test", node.test)
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _named("result", node.value)


def _named(kind: str, node: ast.expr) -> Iterator[tuple[str, ast.expr, str]]:
    replacements: Replacements = KINDS[kind](node)
    return ((kind, node, new) for new in replacements)


def _walk(node: ast.AST) -> Iterator[ast.stmt | ast.expr]:
    """Yield the statements and expressions of a function, without its signature, docstrings and formatted texts."""
    body = node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ast.iter_child_nodes(node)
    for child in body:
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if is_docstring or isinstance(child, ast.JoinedStr | ast.arguments):
            continue
        if isinstance(child, ast.stmt | ast.expr):
            yield child
        if isinstance(child, ast.AnnAssign):
            yield from _walk(ast.Expression(child.value)) if child.value else ()
            continue
        yield from _walk(child)


def _replace(text: str, node: ast.stmt | ast.expr, new: str) -> str:
    lines = text.encode().splitlines(keepends=True)
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: (node.end_lineno or 0) - 1])) + (node.end_col_offset or 0)
    whole = text.encode()
    inserted = new if isinstance(node, ast.stmt) else f"({new})"
    return (whole[:start] + inserted.encode() + whole[end:]).decode()


def _compiles(text: str) -> bool:
    try:
        compile(text, "mutant", "exec")
    except SyntaxError:
        return False
    return True


class _Survivors(BaseModel):
    """Mutants that no case can catch, for one reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(min_length=1)
    effective: bool = False
    """Whether a caller could see the fault, but the kit cannot, within its time or its means."""
    mutants: Mapping[str, str]
    """The fault of each by its id."""


@cache
def survivors() -> Sequence[_Survivors]:
    """Return the mutants that survive, by reason."""
    return TypeAdapter(list[_Survivors]).validate_python(yaml.safe_load(SURVIVORS.read_text("utf-8")) or [])
