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
from tools.bench.config import BenchConfig
from tools.bench.datasets import cases, notes
from tools.bench.deployment import Deployment
from tools.bench.load.plan import Concurrency, Plan, Protocol, Report, Requests
from tools.bench.load.run import run
from tools.bench.processes import RunningServer, run_server
from tools.env.postgres import PostgresCluster, cluster
from tools.env.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE

SERVER_CORE, LOAD_CORE = 0, 1
MANY = Concurrency(8, 16)
ONE = Concurrency(1, 1)


class Engine(StrEnum):
    """Where stores stand, each as durable as it can be."""

    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


class BenchEnvironment:
    """What several measurements share is made once."""

    def __init__(self, folder: Path, scale: BenchConfig) -> None:
        self.folder = folder
        self.scale = scale
        self._suites: dict[tuple[str, Engine], Deployment] = {}
        self._load_seconds: dict[tuple[str, Engine], float] = {}
        self._belongings = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._belongings.close()

    @cached_property
    def cluster(self) -> PostgresCluster:
        """A PostgreSQL server with its own defaults, free to run on every core."""
        return self._belongings.enter_context(cluster())

    def empty(self, name: str, engine: Engine = Engine.SQLITE) -> Deployment:
        """A new suite, its stores empty."""
        stores: dict[str, str] = {}
        if engine is Engine.POSTGRESQL:
            stores = {service: self.cluster.url(self.cluster.database()) for service in ("promissory", "judiciary")}
        return Deployment.create(self.folder / f"{name} on {engine}", stores)

    def with_notes(self, engine: Engine = Engine.SQLITE, *, name: str = "notes") -> Deployment:
        """A suite with the notes on record, one for each *name*."""

        def fill(suite: Deployment) -> None:
            path = self.folder / "notes.csv"
            notes.write(path, self.scale.notes)
            suite.command("promissory", "load-notes", path, "--through", "now")

        return self._filled(name, engine, fill)

    def with_cases(self, rows: int, engine: Engine = Engine.SQLITE) -> Deployment:
        """A suite with so many cases on record."""
        name = f"{rows} cases"

        def fill(suite: Deployment) -> None:
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

    def _filled(self, name: str, engine: Engine, fill: Callable[[Deployment], None]) -> Deployment:
        if (name, engine) not in self._suites:
            suite = self.empty(name, engine)
            fill(suite)
            self._suites[name, engine] = suite
        return self._suites[name, engine]


def promissory_server(suite: Deployment) -> AbstractContextManager[RunningServer]:
    """The full promissory service of *suite*."""
    return run_server(promissory.service.main, suite.promissory(), core=SERVER_CORE)


def judiciary_server(suite: Deployment) -> AbstractContextManager[RunningServer]:
    """The full judiciary service of *suite*."""
    return run_server(judiciary.service.main, suite.judiciary(), core=SERVER_CORE)


def check_note(scale: BenchConfig) -> Requests:
    """CheckNote, half of them to be answered YES."""
    return _questions(CHECK_NOTE, [note.as_message() for note in notes.asked(scale.notes)])


def check_by_national_id(rows: int) -> Requests:
    """CheckByNationalId, half of them to be answered YES."""
    return _questions(CHECK_BY_NATIONAL_ID, cases.by_national_id(rows))


def check_by_tracking_id(rows: int) -> Requests:
    """CheckByTrackingId, half of them to be answered YES."""
    return _questions(CHECK_BY_TRACKING_ID, cases.by_tracking_id(rows))


def _questions(method: str, requests: Sequence[bytes]) -> Requests:
    return Requests(Protocol.GRPC, method, requests)


def load(
    server: RunningServer,
    questions: Requests,
    caller: ClientIdentity,
    *,
    seconds: float,
    crowd: Concurrency = MANY,
    rate: float | None = None,
) -> Report:
    """Ask *server*, from the other core."""
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        identity=caller,
        requests=questions,
        concurrency=crowd,
        seconds=seconds,
        warm_up_seconds=min(1.0, seconds / 2),
        server=server.pid,
        core=LOAD_CORE,
        rate=rate,
    )
    return run(plan)
