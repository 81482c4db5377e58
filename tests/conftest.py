"""Fixtures of all tests: sandboxes with real certificates and stores, and real services on loopback."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import make_url
from xdist.remote import Producer  # type: ignore[import-untyped]

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, direct_channel
from estelam.core.clock import Clock
from estelam.server.service import run_recording_service
from judiciary.methods import LOOKUPS
from judiciary.recall import CaseRecallSource
from promissory.methods import lookups
from promissory.recall import NoteRecallSource
from tests.support import scheduling
from tests.support.service import RunningService
from tools.env import postgres
from tools.env.postgres import PostgresCluster

ENGINES = ("sqlite", "postgresql")
STORING = ("promissory", "judiciary")

both_engines = pytest.mark.parametrize("engine", ENGINES, indirect=True, scope="session")
"""Runs a test on every engine; all other tests run on SQLite only."""
both_engines_in_full = pytest.mark.parametrize(
    "engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True, scope="session"
)
"""Runs a test on SQLite in `make test`, and on PostgreSQL too in `make test-full`."""

# No test asserts time: on a busy machine examples may be slow to draw.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first."""
    items.sort(key=scheduling.rank)


def pytest_configure() -> None:
    """Disable garbage collection during test collection, where it takes a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Exclude everything that exists now from garbage collection, and enable it."""
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> scheduling.FileScheduling:
    """Use our scheduler."""
    return scheduling.FileScheduling(config, log)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of the sandboxes' stores."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL server; tests create databases in it and leave it running."""
    with postgres.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def blank(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox with empty migrated stores: to be copied, not changed."""
    folder = tmp_path_factory.mktemp("blank")
    if engine == "sqlite":
        return suite.create_sandbox(folder)
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    return suite.create_sandbox(folder, stores={name: cluster.url(cluster.database()) for name in STORING})


Build = Callable[[Sandbox, Path], Sandbox]


@pytest.fixture(scope="session")
def build(engine: str, request: pytest.FixtureRequest) -> Build:
    """Copies a sandbox that no process serves into a folder, with the same keys and its own stores."""
    if engine == "sqlite":
        return copy
    cluster: PostgresCluster = request.getfixturevalue("cluster")

    def build(of: Sandbox, folder: Path) -> Sandbox:
        sandbox = copy(of, folder)
        settings = sandbox.config.read_text("utf-8")
        for url in (of.promissory().store, of.judiciary().store):
            settings = settings.replace(url, cluster.url(cluster.database(str(make_url(url).database))))
        sandbox.config.write_text(settings, "utf-8")
        return sandbox

    return build


def copy(of: Sandbox, folder: Path) -> Sandbox:
    """Copy a sandbox on SQLite that no process serves into *folder*."""
    return Sandbox(Path(shutil.copytree(of.folder, folder)))


@pytest.fixture(scope="session")
def template(blank: Sandbox, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox with the samples: to be copied, not changed."""
    sandbox = build(blank, tmp_path_factory.mktemp("template") / "suite")
    suite.load_samples(sandbox)
    return sandbox


@pytest.fixture
def sandbox(blank: Sandbox, build: Build, tmp_path: Path) -> Sandbox:
    """A sandbox for one test, with empty migrated stores."""
    return build(blank, tmp_path / "suite")


@pytest.fixture
def loaded(template: Sandbox, build: Build, tmp_path: Path) -> Sandbox:
    """A sandbox for one test, with the samples loaded."""
    return build(template, tmp_path / "suite")


@pytest.fixture(scope="session")
def shared(template: Sandbox, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox with the samples that many tests share: they may call its services, not change it."""
    return build(template, tmp_path_factory.mktemp("shared") / "suite")


Start = Callable[..., RunningService]


@pytest.fixture
def start() -> Iterator[Callable[[Any], RunningService]]:
    """Starts services; all are closed at the end."""
    running: list[RunningService] = []

    def begin(opening: Any) -> RunningService:
        running.append(RunningService(opening))
        return running[-1]

    yield begin
    for service in reversed(running):
        service.close()


def promissory_opening(sandbox: Sandbox, clock: Clock | None = None, **overrides: object) -> Callable[[], Any]:
    """Opens the promissory service of *sandbox* on a free port."""
    settings = sandbox.promissory(listen="127.0.0.1:0", **overrides)
    return lambda: run_recording_service(settings, lookups(settings), NoteRecallSource(), clock=clock)


def judiciary_opening(sandbox: Sandbox, clock: Clock | None = None, **overrides: object) -> Callable[[], Any]:
    """Opens the judiciary service of *sandbox* on a free port."""
    settings = sandbox.judiciary(listen="127.0.0.1:0", **overrides)
    return lambda: run_recording_service(settings, LOOKUPS, CaseRecallSource(), clock=clock)


@pytest.fixture(scope="session")
def promissory(shared: Sandbox) -> Iterator[RunningService]:
    """The promissory service, shared by many tests."""
    with RunningService(promissory_opening(shared)) as service:
        yield service


@pytest.fixture(scope="session")
def judiciary(shared: Sandbox) -> Iterator[RunningService]:
    """The judiciary service, shared by many tests."""
    with RunningService(judiciary_opening(shared)) as service:
        yield service


def plain_channel(address: str, identity: ClientIdentity) -> grpc.Channel:
    """A channel without retries, for tests of the first status."""
    return direct_channel(address, identity.credentials(), [("grpc.enable_retries", 0)])
