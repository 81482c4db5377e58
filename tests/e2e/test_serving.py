"""Serving through a bad day: health that tells the truth, a store that goes away, and a disk that is full."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from sqlalchemy import select

from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.keys import verifying_keys
from estelam.core.settings import ServingSettings, load_settings
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import verify
from estelam.ledger.tables import entry_table
from estelam.storage.store import Store
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings
from sataad_adapter.settings import SetadSettings
from tests.conftest import copy, plain_channel
from tests.e2e.conftest import caller, refusal
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
STORE_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def home(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The suite whose service these tests harm, and leave as they found it."""
    return copy(template, tmp_path_factory.mktemp("serving") / "suite")


@pytest.fixture(scope="module")
def service(home: Sandbox) -> Iterator[ServiceProcess]:
    with ServiceProcess("promissory", home) as service:
        yield service


def until(happened: Callable[[], bool]) -> bool:
    """Whether it *happened* in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def health(sandbox: Sandbox, address: str, service: str = "") -> int:
    """What the server says of *service* over grpc.health.v1."""
    with plain_channel(address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
        stub = HealthStub(opened)  # type: ignore[no-untyped-call]
        return int(stub.Check(HealthCheckRequest(service=service), timeout=10).status)


def answers(sandbox: Sandbox) -> int:
    """How many answers the promissory ledger holds, its whole chain verified."""
    settings = sandbox.promissory()
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        entries = map(pb.Entry.FromString, connection.execute(select(entry_table.c.sealed)).scalars())
        return sum(entry.outcome == pb.OUTCOME_YES for entry in entries)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("estelam.promissory.v1.PromissoryNoteInquiryService", PromissorySettings),
        ("estelam.judiciary.v1.ChequeCaseInquiryService", JudiciarySettings),
        ("estelam.setad.v1.NoteVerificationService", SetadSettings),
    ],
)
def test_health_names_every_service_and_the_server_as_a_whole(
    running: Sandbox, name: str, kind: type[ServingSettings]
) -> None:
    address = load_settings(kind, environ=running.environ).listen

    assert until(lambda: health(running, address, name) == SERVING)
    assert health(running, address) == SERVING


def test_a_store_that_goes_away_is_an_outage_never_a_no_and_is_taken_up_again_when_it_is_back(
    home: Sandbox, service: ServiceProcess
) -> None:
    here, away = home.folder / "promissory", home.folder / "away"
    before = answers(home)
    with caller(home, service.address) as ask:
        ask()
        here.rename(away)
        gone = [refusal(ask) for _ in range(5)]
        noticed = until(lambda: health(home, service.address) == NOT_SERVING)
        away.rename(here)
        recovered = until(lambda: health(home, service.address) == SERVING)

        assert [STORE_UNAVAILABLE] * 5 == gone
        assert noticed
        assert recovered
        assert ask() == ANSWER_YES
    assert before + 2 == answers(home)


@pytest.mark.parametrize("half", ["facts", "ledger"])
def test_half_a_store_is_no_store(home: Sandbox, service: ServiceProcess, tmp_path: Path, half: str) -> None:
    files = sorted((home.folder / "promissory").glob(f"{half}.db*"))
    before = answers(home)
    with caller(home, service.address) as ask:
        ask()
        for file in files:
            file.rename(tmp_path / file.name)
        gone = refusal(ask)
        for file in files:
            (tmp_path / file.name).rename(file)
        recovered = until(lambda: health(home, service.address) == SERVING)

        assert gone == STORE_UNAVAILABLE
        assert recovered
        assert ask() == ANSWER_YES
    assert before + 2 == answers(home)


def test_a_full_disk_is_an_outage_that_loses_nothing_and_ends_when_there_is_room(
    home: Sandbox, service: ServiceProcess
) -> None:
    room = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    before = answers(home)
    with caller(home, service.address) as ask:
        for _ in range(10):
            ask()
        # No file may grow, neither the store's nor the log's.
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, room[1]))
        full = [refusal(ask) for _ in range(10)]
        kept = answers(home)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, room)

        assert [STORE_UNAVAILABLE] * 10 == full
        assert before + 10 == kept
        assert ask() == ANSWER_YES
    assert before + 11 == answers(home)
