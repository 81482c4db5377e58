"""Injected faults are raised exactly at the requested points."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import DatabaseFaults, Faults, Point

PROGRAM = """\
def program(steps):
    while True:
        try:
            results = [step(number) for number, step in enumerate(steps)]
        except KeyError:
            return "caught"
        return results
"""

Program = Callable[[list[Callable[[int], int]]], object]


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    (tmp_path / "program.py").write_text(PROGRAM, "utf-8")
    return Faults(tmp_path, ["program.py"])


@pytest.fixture
def program(tmp_path: Path, faults: Faults) -> Program:
    names: dict[str, Program] = {}
    exec(compile(PROGRAM, str(tmp_path / "program.py"), "exec"), names)  # noqa: S102 - the constant above

    def traced(steps: list[Callable[[int], int]]) -> object:
        sys.settrace(faults.trace)
        try:
            return names["program"](steps)
        finally:
            sys.settrace(None)

    return traced


STEPS = [lambda number: number + 1] * 2


def test_each_executed_line_is_a_point(faults: Faults, program: Program) -> None:
    """Every line that does something is a point, once for each run."""
    points = faults.record(lambda: program(STEPS))

    assert {point.line for point in points} == {4, 7}
    assert {point.function for point in points} == {"program"}
    assert len(points) > len({point.place for point in points})


def test_error_is_raised_once(faults: Faults, program: Program) -> None:
    """An error is raised at its point once."""
    last = faults.record(lambda: program(STEPS))[-1]

    with faults.throwing(ValueError("here"), at=last), pytest.raises(ValueError, match="here"):
        program(STEPS)
    assert faults.thrown
    assert program(STEPS) == [1, 2]


def test_code_can_catch_the_error(faults: Faults, program: Program) -> None:
    """The code under test can catch the injected error."""
    first = faults.record(lambda: program(STEPS))[0]

    with faults.throwing(KeyError("here"), at=first):
        assert program(STEPS) == "caught"


def test_unreached_point_raises_nothing(faults: Faults, program: Program) -> None:
    """A point that is not reached raises nothing."""
    with faults.throwing(ValueError("here"), at=Point("program.py", "program", 99, 1)):
        assert program(STEPS) == [1, 2]
    assert not faults.thrown


def rows(database: DatabaseFaults, path: Path) -> int:
    connection = database.connect(path, isolation_level=None)
    try:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS stored (row)")
        cursor.execute("BEGIN")
        cursor.executemany("INSERT INTO stored VALUES (?)", [(1,), (2,)])
        connection.commit()
        return int(cursor.execute("SELECT count(*) FROM stored").fetchone()[0])
    finally:
        # References from the error would keep a transaction open after the connection is closed.
        connection.rollback()
        connection.close()


@pytest.mark.parametrize("done", [False, True])
def test_database_call_fails_before_or_after_work(tmp_path: Path, *, done: bool) -> None:
    """A database call fails before or after its work, as requested."""
    database, path = DatabaseFaults(), tmp_path / "stored.db"
    calls = database.record(lambda: rows(database, path))

    with (
        database.throwing(sqlite3.OperationalError("here"), at=calls.index("COMMIT"), done=done),
        pytest.raises(sqlite3.OperationalError, match="here"),
    ):
        rows(database, path)
    assert database.thrown
    assert rows(database, path) == (6 if done else 4)


def test_database_down_fails_every_call(tmp_path: Path) -> None:
    """While the database is down, every call fails; afterwards none does."""
    database, path = DatabaseFaults(), tmp_path / "stored.db"

    with database.down(sqlite3.OperationalError("here")), pytest.raises(sqlite3.OperationalError, match="here"):
        rows(database, path)
    assert rows(database, path) == 2
