"""The faults that the promises are tried with are thrown where they are told to be, and nowhere else."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import DatabaseFaults, Faults, Point

COURSE = """\
def course(steps):
    while True:
        try:
            walked = [step(number) for number, step in enumerate(steps)]
        except KeyError:
            return "caught"
        return walked


async def waiting(other):
    await other
"""

Course = Callable[[list[Callable[[int], int]]], object]


@pytest.fixture
def faults(tmp_path: Path) -> Faults:
    (tmp_path / "course.py").write_text(COURSE, "utf-8")
    return Faults(tmp_path, ["course.py"])


@pytest.fixture
def course(tmp_path: Path, faults: Faults) -> Course:
    names: dict[str, Course] = {}
    exec(compile(COURSE, str(tmp_path / "course.py"), "exec"), names)  # noqa: S102 - its own words, ten lines up

    def followed(steps: list[Callable[[int], int]]) -> object:
        sys.settrace(faults.trace)
        try:
            return names["course"](steps)
        finally:
            sys.settrace(None)

    return followed


STEPS = [lambda number: number + 1] * 2


def test_every_line_that_does_something_is_a_point_each_time_that_it_runs(faults: Faults, course: Course) -> None:
    points = faults.record(lambda: course(STEPS))

    assert {point.line for point in points} == {4, 7}
    assert {point.function for point in points} == {"course"}
    assert len(points) > len({point.place for point in points})


def test_an_error_is_thrown_at_its_point_once_and_never_again(faults: Faults, course: Course) -> None:
    last = faults.record(lambda: course(STEPS))[-1]

    with faults.throwing(ValueError("here"), at=last), pytest.raises(ValueError, match="here"):
        course(STEPS)
    assert faults.thrown
    assert course(STEPS) == [1, 2]


def test_an_error_is_thrown_where_the_code_may_catch_it(faults: Faults, course: Course) -> None:
    first = faults.record(lambda: course(STEPS))[0]

    with faults.throwing(KeyError("here"), at=first):
        assert course(STEPS) == "caught"


def test_a_point_that_is_not_come_by_throws_nothing(faults: Faults, course: Course) -> None:
    with faults.throwing(ValueError("here"), at=Point("course.py", "course", 99, 1)):
        assert course(STEPS) == [1, 2]
    assert not faults.thrown


def test_a_line_that_waits_is_known(faults: Faults) -> None:
    assert faults.awaits(Point("course.py", "waiting", 11, 1))
    assert not faults.awaits(Point("course.py", "course", 7, 1))


def rows(database: DatabaseFaults, path: Path) -> int:
    connection = database.connect(path, isolation_level=None)
    try:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (row)")
        cursor.execute("BEGIN")
        cursor.executemany("INSERT INTO kept VALUES (?)", [(1,), (2,)])
        connection.commit()
        return int(cursor.execute("SELECT count(*) FROM kept").fetchone()[0])
    finally:
        # What the error remembers would keep a transaction open after the connection is closed.
        connection.rollback()
        connection.close()


@pytest.mark.parametrize("done", [False, True])
def test_a_call_to_the_database_fails_before_or_after_its_work(tmp_path: Path, *, done: bool) -> None:
    database, path = DatabaseFaults(), tmp_path / "kept.db"
    calls = database.record(lambda: rows(database, path))

    with (
        database.throwing(sqlite3.OperationalError("here"), at=calls.index("COMMIT"), done=done),
        pytest.raises(sqlite3.OperationalError, match="here"),
    ):
        rows(database, path)
    assert database.thrown
    assert rows(database, path) == (6 if done else 4)


def test_a_database_that_is_down_fails_every_call_until_it_is_up_again(tmp_path: Path) -> None:
    database, path = DatabaseFaults(), tmp_path / "kept.db"

    with database.down(sqlite3.OperationalError("here")), pytest.raises(sqlite3.OperationalError, match="here"):
        rows(database, path)
    assert rows(database, path) == 2
