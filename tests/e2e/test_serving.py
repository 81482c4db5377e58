"""Serving during faults: correct health, a store that disappears, and a full disk."""

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

from development.processes import ServiceProcess
from development.sandbox import Sandbox
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

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
STORE_UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def sandbox(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The sandbox whose service these tests disturb and restore."""
    return copy(template, tmp_path_factory.mktemp("serving") / "suite")


@pytest.fixture(scope="module")
def service(sandbox: Sandbox) -> Iterator[ServiceProcess]:
    with ServiceProcess("promissory", sandbox) as service:
        yield service


def until(happened: Callable[[], bool]) -> bool:
    """Whether *happened* becomes true in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def health(sandbox: Sandbox, address: str, service: str = "") -> int:
    """The status of *service* over grpc.health.v1."""
    with plain_channel(address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
        stub = HealthStub(opened)  # type: ignore[no-untyped-call]
        return int(stub.Check(HealthCheckRequest(service=service), timeout=10).status)


def answers(sandbox: Sandbox) -> int:
    """The number of answers in the promissory ledger, after verification."""
    settings = sandbox.promissory()
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        entries = map(pb.Entry.FromString, connection.execute(select(entry_table.c.leaf)).scalars())
        return sum(entry.outcome == pb.OUTCOME_YES for entry in entries)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("estelam.promissory.v1.PromissoryNoteInquiryService", PromissorySettings),
        ("estelam.judiciary.v1.ChequeCaseInquiryService", JudiciarySettings),
        ("estelam.setad.v1.NoteVerificationService", SetadSettings),
    ],
)
def test_health_of_services_and_server(running: Sandbox, name: str, kind: type[ServingSettings]) -> None:
    """Health reports every service and the server as a whole."""
    address = load_settings(kind, environ=running.environ).listen

    assert until(lambda: health(running, address, name) == SERVING)
    assert health(running, address) == SERVING


@pytest.mark.slow
def test_missing_store_is_an_outage(sandbox: Sandbox, service: ServiceProcess) -> None:
    """A store that disappears is an outage, never a NO, and is used again when it is back."""
    here, away = sandbox.folder / "promissory", sandbox.folder / "away"
    before = answers(sandbox)
    with caller(sandbox, service.address) as ask:
        ask()
        here.rename(away)
        gone = [refusal(ask) for _ in range(5)]
        noticed = until(lambda: health(sandbox, service.address) == NOT_SERVING)
        away.rename(here)
        recovered = until(lambda: health(sandbox, service.address) == SERVING)

        assert [STORE_UNAVAILABLE] * 5 == gone
        assert noticed
        assert recovered
        assert ask() == ANSWER_YES
    assert before + 2 == answers(sandbox)


@pytest.mark.parametrize("half", ["facts", "ledger"])
def test_incomplete_store_is_an_outage(sandbox: Sandbox, service: ServiceProcess, tmp_path: Path, half: str) -> None:
    """A store with one of its two files missing is an outage."""
    files = sorted((sandbox.folder / "promissory").glob(f"{half}.db*"))
    before = answers(sandbox)
    with caller(sandbox, service.address) as ask:
        ask()
        for file in files:
            file.rename(tmp_path / file.name)
        gone = refusal(ask)
        for file in files:
            (tmp_path / file.name).rename(file)
        recovered = until(lambda: health(sandbox, service.address) == SERVING)

        assert gone == STORE_UNAVAILABLE
        assert recovered
        assert ask() == ANSWER_YES
    assert before + 2 == answers(sandbox)


def test_full_disk_is_an_outage(sandbox: Sandbox, service: ServiceProcess) -> None:
    """A full disk is an outage that loses no acknowledged answer and ends when there is space."""
    room = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    before = answers(sandbox)
    with caller(sandbox, service.address) as ask:
        for _ in range(10):
            ask()
        # No file may grow: neither the store nor the log.
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, room[1]))
        full = [refusal(ask) for _ in range(10)]
        kept = answers(sandbox)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, room)

        assert [STORE_UNAVAILABLE] * 10 == full
        assert before + 10 == kept
        assert ask() == ANSWER_YES
    assert before + 11 == answers(sandbox)
