"""A world to measure in, made piece by piece as measurements ask for it: suites, servers, and load on them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from scripts.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE

import judiciary.__main__
import promissory.__main__
from bench import cases, notes
from bench.load.plan import Crowd, Plan, Protocol, Questions, Report
from bench.load.run import run
from bench.processes import Running, running
from bench.scale import Scale
from bench.suite import Suite
from estelam.client import Identity

SERVER_CORE, LOAD_CORE = 0, 1
MANY = Crowd(8, 16)
ONE = Crowd(1, 1)


class World:
    """What several measurements share is made once."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder = folder
        self.scale = scale
        self._suites: dict[str, Suite] = {}
        self._load_seconds: dict[int, float] = {}

    def empty(self, name: str) -> Suite:
        """The suite of this name; its stores are empty when it is first asked for."""
        if name not in self._suites:
            self._suites[name] = Suite.create(self.folder / name)
        return self._suites[name]

    def with_notes(self) -> Suite:
        """A suite with the notes on record."""
        if "notes" not in self._suites:
            path = self.folder / "notes.csv"
            notes.write(path, self.scale.notes)
            self.empty("notes").command("promissory", "load-notes", path, "--through", "now")
        return self._suites["notes"]

    def with_cases(self, rows: int) -> Suite:
        """A suite with so many cases on record."""
        name = f"cases-{rows}"
        if name not in self._suites:
            path = self.cases_file(rows)
            suite = Suite.create(self.folder / name)
            self._load_seconds[rows] = suite.command("judiciary", "load-cases", path, "--through", "now").seconds
            self._suites[name] = suite
        return self._suites[name]

    def load_seconds(self, rows: int) -> float:
        """How long `load-cases` took for so many."""
        self.with_cases(rows)
        return self._load_seconds[rows]

    def cases_file(self, rows: int) -> Path:
        """A file of so many cases."""
        path = self.folder / f"cases-{rows}.csv"
        if not path.exists():
            cases.write(path, rows)
        return path


def promissory_server(suite: Suite) -> AbstractContextManager[Running]:
    """The full promissory service of *suite*."""
    return running(promissory.__main__.main, suite.promissory(), core=SERVER_CORE)


def judiciary_server(suite: Suite) -> AbstractContextManager[Running]:
    """The full judiciary service of *suite*."""
    return running(judiciary.__main__.main, suite.judiciary(), core=SERVER_CORE)


def check_note(scale: Scale) -> Questions:
    """CheckNote, half of them to be answered YES."""
    return _questions(CHECK_NOTE, [note.as_message() for note in notes.asked(scale.notes)])


def check_by_national_id(rows: int) -> Questions:
    """CheckByNationalId, half of them to be answered YES."""
    return _questions(CHECK_BY_NATIONAL_ID, cases.by_national_id(rows))


def check_by_tracking_id(rows: int) -> Questions:
    """CheckByTrackingId, half of them to be answered YES."""
    return _questions(CHECK_BY_TRACKING_ID, cases.by_tracking_id(rows))


def _questions(method: str, requests: Sequence[bytes]) -> Questions:
    return Questions(Protocol.GRPC, method, requests)


def load(
    server: Running,
    questions: Questions,
    caller: Identity,
    *,
    seconds: float,
    crowd: Crowd = MANY,
    rate: float | None = None,
) -> Report:
    """Ask *server*, from the other core."""
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        identity=caller,
        questions=questions,
        crowd=crowd,
        seconds=seconds,
        warm_up_seconds=min(1.0, seconds),
        server=server.pid,
        core=LOAD_CORE,
        rate=rate,
    )
    return run(plan)
