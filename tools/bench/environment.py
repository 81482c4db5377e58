"""A world to measure in, made piece by piece as measurements ask for it: suites, servers, and load on them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Self

import judiciary.service
import promissory.service
from estelam.client.channel import ClientIdentity
from tools.bench.config import Scale
from tools.bench.datasets import cases, notes
from tools.bench.deployment import Suite
from tools.bench.load.plan import Crowd, Plan, Protocol, Questions, Report
from tools.bench.load.run import run
from tools.bench.processes import Running, running
from tools.env.postgres import Cluster, cluster
from tools.env.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE

SERVER_CORE, LOAD_CORE = 0, 1
MANY = Crowd(8, 16)
ONE = Crowd(1, 1)


class Engine(StrEnum):
    """Where stores stand, each as durable as it can be."""

    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


class World:
    """What several measurements share is made once."""

    def __init__(self, folder: Path, scale: Scale) -> None:
        self.folder = folder
        self.scale = scale
        self._suites: dict[tuple[str, Engine], Suite] = {}
        self._load_seconds: dict[tuple[str, Engine], float] = {}
        self._belongings = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._belongings.close()

    @cached_property
    def cluster(self) -> Cluster:
        """A PostgreSQL server with its own defaults, free to run on every core."""
        return self._belongings.enter_context(cluster())

    def empty(self, name: str, engine: Engine = Engine.SQLITE) -> Suite:
        """A new suite, its stores empty."""
        stores: dict[str, str] = {}
        if engine is Engine.POSTGRESQL:
            stores = {service: self.cluster.url(self.cluster.database()) for service in ("promissory", "judiciary")}
        return Suite.create(self.folder / f"{name} on {engine}", stores)

    def with_notes(self, engine: Engine = Engine.SQLITE, *, name: str = "notes") -> Suite:
        """A suite with the notes on record, one for each *name*."""

        def fill(suite: Suite) -> None:
            path = self.folder / "notes.csv"
            notes.write(path, self.scale.notes)
            suite.command("promissory", "load-notes", path, "--through", "now")

        return self._filled(name, engine, fill)

    def with_cases(self, rows: int, engine: Engine = Engine.SQLITE) -> Suite:
        """A suite with so many cases on record."""
        name = f"{rows} cases"

        def fill(suite: Suite) -> None:
            done = suite.command("judiciary", "load-cases", self.cases_file(rows), "--through", "now")
            self._load_seconds[name, engine] = done.seconds

        return self._filled(name, engine, fill)

    def load_seconds(self, rows: int, engine: Engine) -> float:
        """How long `load-cases` took for so many."""
        self.with_cases(rows, engine)
        return self._load_seconds[f"{rows} cases", engine]

    def cases_file(self, rows: int) -> Path:
        """A file of so many cases."""
        path = self.folder / f"{rows} cases.csv"
        if not path.exists():
            cases.write(path, rows)
        return path

    def _filled(self, name: str, engine: Engine, fill: Callable[[Suite], None]) -> Suite:
        if (name, engine) not in self._suites:
            suite = self.empty(name, engine)
            fill(suite)
            self._suites[name, engine] = suite
        return self._suites[name, engine]


def promissory_server(suite: Suite) -> AbstractContextManager[Running]:
    """The full promissory service of *suite*."""
    return running(promissory.service.main, suite.promissory(), core=SERVER_CORE)


def judiciary_server(suite: Suite) -> AbstractContextManager[Running]:
    """The full judiciary service of *suite*."""
    return running(judiciary.service.main, suite.judiciary(), core=SERVER_CORE)


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
    caller: ClientIdentity,
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
        warm_up_seconds=min(1.0, seconds / 2),
        server=server.pid,
        core=LOAD_CORE,
        rate=rate,
    )
    return run(plan)
