"""The environment of the benchmarks, created on demand: deployments, servers, and load on them."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Self

from sqlalchemy import make_url

import judiciary.service
import promissory.service
from development.files import SAMPLES
from development.sandbox import CHECK_BY_NATIONAL_ID, CHECK_BY_TRACKING_ID, CHECK_NOTE
from estelam.client.channel import ClientIdentity
from tools.bench.config import BenchConfig
from tools.bench.datasets import cases, ledger, notes
from tools.bench.deployment import Deployment
from tools.bench.load.plan import Concurrency, Plan, Protocol, Report, Requests
from tools.bench.load.run import run
from tools.bench.processes import RunningServer, run_server
from tools.env.postgres import PostgresCluster, cluster

SERVER_CORE, LOAD_CORE = 0, 1
MANY = Concurrency(8, 16)
ONE = Concurrency(1, 1)


class Engine(StrEnum):
    """The database engine of a store; both sync every commit."""

    SQLITE = "SQLite"
    POSTGRESQL = "PostgreSQL"


class BenchEnvironment:
    """Deployments and data files shared by several benchmarks, each created once."""

    def __init__(self, folder: Path, scale: BenchConfig) -> None:
        self.folder = folder
        self.scale = scale
        self._suites: dict[tuple[str, Engine], Deployment] = {}
        self._belongings = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._belongings.close()

    @cached_property
    def cluster(self) -> PostgresCluster:
        """A PostgreSQL server with default settings, not bound to a core."""
        return self._belongings.enter_context(cluster())

    def empty(self, name: str, engine: Engine = Engine.SQLITE) -> Deployment:
        """A new deployment with empty stores."""
        stores: dict[str, str] = {}
        if engine is Engine.POSTGRESQL:
            stores = {service: self.cluster.url(self.cluster.database()) for service in ("promissory", "judiciary")}
        return Deployment.create(self.folder / f"{name} on {engine}", stores)

    def with_notes(self, engine: Engine = Engine.SQLITE, *, name: str = "notes") -> Deployment:
        """A deployment with the notes loaded; one per *name*."""
        return self._filled(name, engine, self._load_notes)

    def _load_notes(self, suite: Deployment) -> None:
        path = self.folder / "notes.csv"
        notes.write(path, self.scale.notes)
        suite.command("promissory", "load-notes", path, "--replace", "--cut-at", now())

    def with_ledger(self, entries: int, engine: Engine = Engine.SQLITE, *, commit: int = ledger.COMMIT) -> Deployment:
        """A deployment with the notes and a member agency loaded, and *entries* in the ledger, by *commit* in each."""

        def fill(suite: Deployment) -> None:
            self._load_notes(suite)
            suite.command("promissory", "load-agencies", SAMPLES / "agencies.csv", "--cut-at", now())
            ledger.fill(suite.promissory(), entries, commit)

        return self._filled(f"ledger of {entries} by {commit}", engine, fill)

    def with_cases(self, rows: int, engine: Engine = Engine.SQLITE) -> Deployment:
        """A deployment with *rows* cases loaded."""

        def fill(suite: Deployment) -> None:
            self._load_cases(suite, rows)

        return self._filled(f"{rows} cases", engine, fill)

    def _load_cases(self, suite: Deployment, rows: int) -> float:
        declared = ("--replace", "--cut-at", now(), "--tracking-since", "1400-01-01")
        return suite.command("judiciary", "load-cases", self.cases_file(rows), *declared).seconds

    def load_seconds(self, rows: int, engine: Engine) -> float:
        """Seconds that `load-cases` takes for *rows* cases into a new store, which is deleted afterwards."""
        suite = self.empty(f"load of {rows} cases", engine)
        taken = self._load_cases(suite, rows)
        store = suite.judiciary().store
        shutil.rmtree(suite.sandbox.folder)
        if engine is Engine.POSTGRESQL:
            with self.cluster.connect() as connection:
                connection.execute(f"DROP DATABASE {make_url(store).database}")
        return taken

    def cases_file(self, rows: int) -> Path:
        """A CSV file of *rows* cases."""
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


def now() -> str:
    """The present instant, as a command takes it."""
    return datetime.now(UTC).isoformat()


def promissory_server(suite: Deployment) -> AbstractContextManager[RunningServer]:
    """Run the full promissory service of *suite*."""
    return run_server(promissory.service.main, suite.promissory().model_copy, core=SERVER_CORE)


def judiciary_server(suite: Deployment) -> AbstractContextManager[RunningServer]:
    """Run the full judiciary service of *suite*."""
    return run_server(judiciary.service.main, suite.judiciary().model_copy, core=SERVER_CORE)


def check_note(scale: BenchConfig) -> Requests:
    """CheckNote requests; the answer to half of them is YES."""
    return _questions(CHECK_NOTE, [note.as_message() for note in notes.sample_requests(scale.notes)])


def check_by_national_id(rows: int) -> Requests:
    """CheckByNationalId requests; the answer to half of them is YES."""
    return _questions(CHECK_BY_NATIONAL_ID, cases.by_national_id(rows))


def check_by_tracking_id(rows: int) -> Requests:
    """CheckByTrackingId requests; the answer to half of them is YES."""
    return _questions(CHECK_BY_TRACKING_ID, cases.by_tracking_id(rows))


def _questions(method: str, requests: Sequence[bytes]) -> Requests:
    return Requests(Protocol.GRPC, method, requests)


def load(
    server: RunningServer,
    questions: Requests,
    caller: ClientIdentity,
    *,
    seconds: float,
    concurrency: Concurrency = MANY,
    rate: float | None = None,
) -> Report:
    """Load *server* from the other core."""
    plan = Plan(
        host="127.0.0.1",
        port=server.port,
        identity=caller,
        requests=questions,
        concurrency=concurrency,
        seconds=seconds,
        warm_up_seconds=min(1.0, seconds / 2),
        server=server.pid,
        core=LOAD_CORE,
        rate=rate,
    )
    return run(plan)
