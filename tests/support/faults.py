"""Fault injection: an error at any one line that an inquiry runs, or at any one database call."""

import ast
import errno
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

from google.protobuf.message import DecodeError
from sqlalchemy.exc import OperationalError

Work = Callable[[], Any]

_connect: Any = sqlite3.connect


class Point(NamedTuple):
    """One run of one line of a function; *run* counts the runs within an inquiry from 1."""

    file: str
    function: str
    line: int
    run: int

    @property
    def place(self) -> tuple[str, int]:
        """File and line, without the run."""
        return self.file, self.line


class Faults:
    """Traces code line by line: records the lines, or raises one error at one of them."""

    def __init__(self, root: Path, files: Collection[str]) -> None:
        self._files = {str(root / name): name for name in files}
        self._runs: Counter[tuple[str, int]] = Counter()
        self._seen: list[Point] | None = None
        self._point: Point | None = None
        self._error: BaseException | None = None
        self.thrown = False
        trees = {name: ast.parse(Path(path).read_text("utf-8")) for path, name in self._files.items()}
        self._idle = _lines(trees, _is_idle)

    def record(self, work: Work) -> list[Point]:
        """Return every point that *work* runs, without `try:` and `while True:`, which do nothing, and locks."""
        self._runs.clear()
        self._seen = []
        work()
        seen, self._seen = self._seen, None
        return [point for point in seen if point.place not in self._idle]

    @property
    def is_active(self) -> bool:
        """Whether tracing is needed: points are being recorded, or an error is still to be raised."""
        return self._seen is not None or self._point is not None

    @contextmanager
    def throwing(self, error: BaseException, *, at: Point) -> Iterator[None]:
        """Raise *error* once at the point *at*; `thrown` tells whether it was reached."""
        self._runs.clear()
        self.thrown, self._error, self._point = False, error, at
        try:
            yield
        finally:
            self._point = None

    def trace(self, frame: FrameType, event: str, _argument: Any) -> Any:
        """Trace function for `sys.settrace`. Python removes it from a thread in which it raises."""
        name = self._files.get(frame.f_code.co_filename)
        if name is None or not self.is_active:
            return None
        if event == "line":
            self._line(name, frame)
        return self.trace

    def _line(self, name: str, frame: FrameType) -> None:
        line = frame.f_lineno
        self._runs[name, line] += 1
        # Lines of a comprehension or a generator count as lines of the enclosing function.
        function = frame.f_code.co_qualname.partition(".<locals>.<")[0]
        point = Point(name, function, line, self._runs[name, line])
        if self._seen is not None:
            self._seen.append(point)
        if self._error is not None and point == self._point:
            self.thrown, self._point = True, None
            raise self._error


def _lines(trees: Mapping[str, ast.Module], chosen: Callable[[ast.AST], bool]) -> set[tuple[str, int]]:
    nodes = ((name, node) for name, tree in trees.items() for node in ast.walk(tree))
    return {(name, node.lineno) for name, node in nodes if isinstance(node, ast.stmt | ast.expr) and chosen(node)}


def _is_idle(node: ast.AST) -> bool:
    if isinstance(node, ast.With):
        # Python runs this line again to release a lock: an error raised just before would leave it locked.
        return any(isinstance(taken.context_expr, ast.Attribute) for taken in node.items)
    return isinstance(node, ast.Try) or (isinstance(node, ast.While) and isinstance(node.test, ast.Constant))


class DatabaseFaults:
    """Counts the calls to SQLite and fails one of them, before or after its work."""

    def __init__(self) -> None:
        self.thrown = False
        self._calls: list[str] = []
        self._at: tuple[int, bool] | None = None
        self._error = Exception()
        self._down = False

    def record(self, work: Work) -> list[str]:
        """Return every call that *work* makes, in order."""
        self._calls = []
        work()
        return self._calls

    @contextmanager
    def throwing(self, error: Exception, *, at: int, done: bool) -> Iterator[None]:
        """Raise *error* once at the call *at*, counted from 0: before its work or, if *done*, after it."""
        self.thrown, self._error, self._at, self._calls = False, error, (at, done), []
        try:
            yield
        finally:
            self._at = None

    @contextmanager
    def down(self, error: Exception) -> Iterator[None]:
        """Raise *error* at every call."""
        self._error, self._down = error, True
        try:
            yield
        finally:
            self._down = False

    def call(self, words: str, work: Work) -> Any:
        """Do *work*, or fail as requested."""
        place = len(self._calls)
        self._calls.append(words)
        self._raise_at((place, False))
        result = work()
        self._raise_at((place, True))
        return result

    def _raise_at(self, moment: tuple[int, bool]) -> None:
        if moment == self._at or self._down:
            self.thrown, self._at = True, None
            raise self._error

    def connect(self, *arguments: Any, factory: Any = sqlite3.Connection, **options: Any) -> sqlite3.Connection:
        """Replacement for `sqlite3.connect`."""
        faults = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, parameters: Any = (), /) -> Self:
                faults.call(sql, lambda: super(Cursor, self).execute(sql, parameters))
                return self

            def executemany(self, sql: str, parameters: Any, /) -> Self:
                faults.call(sql, lambda: super(Cursor, self).executemany(sql, parameters))
                return self

            def fetchone(self) -> Any:
                return faults.call("fetchone", super().fetchone)

            def fetchall(self) -> list[Any]:
                rows: list[Any] = faults.call("fetchall", super().fetchall)
                return rows

        class Connection(factory):  # type: ignore[misc]
            def cursor(self, *_: Any, **__: Any) -> Any:
                return super().cursor(Cursor)

            def commit(self) -> None:
                faults.call("COMMIT", super().commit)

            def rollback(self) -> None:
                faults.call("ROLLBACK", super().rollback)

        return faults.open_connection(lambda: _connect(*arguments, factory=Connection, **options))

    def open_connection(self, connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
        """Call *connect*, or fail as requested; a connection that is not returned is closed."""
        opened: list[sqlite3.Connection] = []
        try:
            self.call("connect", lambda: opened.append(connect()))
        except BaseException:
            for unused in opened:
                unused.close()
            raise
        return opened[0]


def errors(words: str) -> Iterator[Callable[[], Exception]]:
    """Yield errors of different types for ever; each has *words* in its message."""
    return cycle(
        [
            lambda: OperationalError(words, {"asked": words}, sqlite3.OperationalError(words)),
            lambda: ValueError(words),
            lambda: sqlite3.OperationalError(words),
            lambda: KeyError(words),
            lambda: OSError(errno.EIO, words),
            lambda: MemoryError(words),
            lambda: RecursionError(words),
            lambda: TimeoutError(words),
            lambda: DecodeError(words),
            lambda: StopIteration(words),
            lambda: AttributeError(words),
        ]
    )
