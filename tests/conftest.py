"""What tests stand on: one sandbox with real certificates and stores, and real services on loopback."""

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import make_url
from xdist.remote import Producer  # type: ignore[import-untyped]

from estelam.client.channel import ClientIdentity
from estelam.core.clock import Clock
from estelam.server.service import run_recording_service
from judiciary.methods import LOOKUPS
from promissory.methods import lookups
from tests.support import scheduling
from tests.support.service import RunningService
from tools.env import postgres
from tools.env import sandbox as suite
from tools.env.postgres import PostgresCluster
from tools.env.sandbox import Sandbox

ENGINES = ("sqlite", "postgresql")
STORING = ("promissory", "judiciary")

both_engines = pytest.mark.parametrize("engine", ENGINES, indirect=True, scope="session")
"""Marks an exam that every engine sits, whole; all else is shown on SQLite alone."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=scheduling.rank)


def pytest_configure() -> None:
    """What is collected lives as long as the process: to look for garbage in it takes a third of the collection."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is garbage; what lives by now is looked at no more."""
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> scheduling.Turns:
    """How several processes share the tests."""
    return scheduling.Turns(config, log)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Which engine the suites' stores stand on."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgresCluster]:
    """A PostgreSQL server of one's own; tests make databases in it, and leave it running."""
    with postgres.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def blank(engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite whose stores are migrated and empty: to be copied, not to be changed."""
    folder = tmp_path_factory.mktemp("blank")
    if engine == "sqlite":
        return suite.create_sandbox(folder)
    cluster: PostgresCluster = request.getfixturevalue("cluster")
    return suite.create_sandbox(folder, stores={name: cluster.url(cluster.database()) for name in STORING})


Build = Callable[[Sandbox, Path], Sandbox]


@pytest.fixture(scope="session")
def build(engine: str, request: pytest.FixtureRequest) -> Build:
    """Makes a copy of a suite that nobody serves, in a folder: the keys are the same, the stores its own."""
    if engine == "sqlite":
        return copy
    cluster: PostgresCluster = request.getfixturevalue("cluster")

    def build(of: Sandbox, folder: Path) -> Sandbox:
        stores = {"promissory": of.promissory().store, "judiciary": of.judiciary().store}
        copied = {name: cluster.url(cluster.database(str(make_url(url).database))) for name, url in stores.items()}
        return suite.create_sandbox(copy(of, folder).folder, stores=copied)

    return build


def copy(of: Sandbox, folder: Path) -> Sandbox:
    """A copy of a suite on SQLite that nobody serves, in *folder*."""
    return Sandbox(Path(shutil.copytree(of.folder, folder)))


@pytest.fixture(scope="session")
def template(blank: Sandbox, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite with the samples: to be copied, not to be changed."""
    sandbox = build(blank, tmp_path_factory.mktemp("template") / "suite")
    suite.load_samples(sandbox)
    return sandbox


@pytest.fixture
def sandbox(blank: Sandbox, build: Build, tmp_path: Path) -> Sandbox:
    """A suite of a test's own, its stores migrated and empty."""
    return build(blank, tmp_path / "suite")


@pytest.fixture
def loaded(template: Sandbox, build: Build, tmp_path: Path) -> Sandbox:
    """A suite of a test's own, with the samples loaded."""
    return build(template, tmp_path / "suite")


@pytest.fixture(scope="session")
def shared(template: Sandbox, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite with samples that many tests share: they may ask it, not change it."""
    return build(template, tmp_path_factory.mktemp("shared") / "suite")


Start = Callable[..., RunningService]


@pytest.fixture
def start() -> Iterator[Callable[[Any], RunningService]]:
    """Start services, as openings or ready made; all are closed at the end."""
    running: list[RunningService] = []

    def begin(opening: Any) -> RunningService:
        running.append(RunningService(opening))
        return running[-1]

    yield begin
    for service in reversed(running):
        service.close()


def promissory_opening(sandbox: Sandbox, clock: Clock | None = None, **overrides: object) -> Callable[[], Any]:
    """What opens the promissory service of *sandbox* on a free port."""
    settings = sandbox.promissory(listen="127.0.0.1:0", **overrides)
    return lambda: run_recording_service(settings, lookups(settings), clock=clock)


def judiciary_opening(sandbox: Sandbox, clock: Clock | None = None, **overrides: object) -> Callable[[], Any]:
    """What opens the judiciary service of *sandbox* on a free port."""
    settings = sandbox.judiciary(listen="127.0.0.1:0", **overrides)
    return lambda: run_recording_service(settings, LOOKUPS, clock=clock)


@pytest.fixture(scope="session")
def promissory(shared: Sandbox) -> Iterator[RunningService]:
    """The promissory service that many tests share."""
    with RunningService(promissory_opening(shared)) as service:
        yield service


@pytest.fixture(scope="session")
def judiciary(shared: Sandbox) -> Iterator[RunningService]:
    """The judiciary service that many tests share."""
    with RunningService(judiciary_opening(shared)) as service:
        yield service


def plain_channel(address: str, identity: ClientIdentity) -> grpc.Channel:
    """A channel without retries, for tests that look at the first status itself."""
    return grpc.secure_channel(address, identity.credentials(), options=[("grpc.enable_retries", 0)])
