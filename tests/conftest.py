"""What tests stand on: one sandbox with real certificates and stores, and real services on loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripts import sandbox as suite
from scripts.sandbox import Sandbox

from estelam.client import Identity
from estelam.clock import Clock
from estelam.hosting import recording_service
from judiciary.servicer import QUESTIONS
from promissory.servicer import questions
from tests.service import RunningService


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A suite of its own, its stores migrated and empty."""
    return suite.create(tmp_path / "suite")


@pytest.fixture
def loaded(sandbox: Sandbox) -> Sandbox:
    """A suite of its own, with the samples loaded."""
    suite.load_samples(sandbox)
    return sandbox


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite with samples that many tests share: they may ask it, not change it."""
    sandbox = suite.create(tmp_path_factory.mktemp("shared"))
    suite.load_samples(sandbox)
    return sandbox


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
    return lambda: recording_service(settings, questions(settings), clock=clock)


def judiciary_opening(sandbox: Sandbox, clock: Clock | None = None, **overrides: object) -> Callable[[], Any]:
    """What opens the judiciary service of *sandbox* on a free port."""
    settings = sandbox.judiciary(listen="127.0.0.1:0", **overrides)
    return lambda: recording_service(settings, QUESTIONS, clock=clock)


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


def plain_channel(address: str, identity: Identity) -> grpc.Channel:
    """A channel without retries, for tests that look at the first status itself."""
    return grpc.secure_channel(address, identity.credentials(), options=[("grpc.enable_retries", 0)])
