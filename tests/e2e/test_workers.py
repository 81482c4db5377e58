"""Several worker processes on one port and one store."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from development import sandbox as suite
from development.process_limits import ProcessError
from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import verify
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import Store
from tests.conftest import STORING
from tests.e2e.conftest import NOTE
from tools.env.postgres import PostgresCluster

pytestmark = pytest.mark.slow

SECONDS = 30


@pytest.fixture(scope="module")
def on_postgresql(cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A sandbox on PostgreSQL with the samples."""
    stores = {name: cluster.url(cluster.database()) for name in STORING}
    # Quotas suffice for all tests, and hardly refill.
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("on_postgresql"), stores=stores, rate=0.001)
    suite.load_samples(sandbox)
    return sandbox


@pytest.fixture(scope="module")
def service(on_postgresql: Sandbox) -> Iterator[ServiceProcess]:
    with ServiceProcess("promissory", on_postgresql, workers=2) as service:
        yield service


def workers(service: ServiceProcess) -> set[int]:
    """The worker processes: all but the supervisor and Python's resource tracker."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text("ascii").split()
    return {int(pid) for pid in children if b"spawn_main" in command_line(pid)}


def command_line(pid: str) -> bytes:
    """The command line of the process; empty if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(sandbox: Sandbox, service: ServiceProcess, times: int) -> list[int]:
    """Calls over a new connection each time, through our client with its retries."""
    answers: list[int] = []
    for _ in range(times):
        with channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
            answers.append(PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=SECONDS).answer)
    return answers


def test_killed_worker_is_replaced(on_postgresql: Sandbox, service: ServiceProcess) -> None:
    """A killed worker is replaced, and every call is answered."""
    before = workers(service)
    os.kill(min(before), signal.SIGKILL)
    answers = ask(on_postgresql, service, 20)
    until(lambda: len(workers(service)) == 2 and workers(service) != before)

    assert [ANSWER_YES] * 40 == answers + ask(on_postgresql, service, 20)
    assert max(before) in workers(service)


@pytest.mark.slow
def test_rolling_restart_replaces_all_workers(on_postgresql: Sandbox, service: ServiceProcess) -> None:
    """A rolling restart replaces all workers, and every call is answered."""
    before = workers(service)
    answers: list[int] = []
    os.kill(service.pid, signal.SIGHUP)
    while workers(service) & before or len(workers(service)) != 2:
        answers += ask(on_postgresql, service, 1)

    assert {ANSWER_YES} == set(answers)


def test_workers_share_one_ledger(on_postgresql: Sandbox, service: ServiceProcess) -> None:
    """The answers of all workers are in one ledger."""
    settings = on_postgresql.promissory()

    def entries() -> int:
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        return heads[-1].size if heads else 0

    before = entries()
    ask(on_postgresql, service, 30)

    assert before + 30 == entries()


def test_workers_share_quotas(on_postgresql: Sandbox, service: ServiceProcess) -> None:
    """Each call takes a token of its caller's one quota, whichever worker answers it."""
    left = []
    for _ in range(10):
        with channel(service.address, ClientIdentity.named(on_postgresql.pki, "setad")) as opened:
            _, call = PromissoryNoteInquiryServiceStub(opened).CheckNote.with_call(NOTE, timeout=SECONDS)
            limits = str(dict(call.trailing_metadata())["ratelimit"])
            left.append(int(limits.partition(";r=")[2].partition(";")[0]))

    assert list(range(left[0], left[0] - len(left), -1)) == left


def test_sqlite_allows_one_worker(sandbox: Sandbox) -> None:
    """More than one worker on SQLite is refused with the reason."""
    with pytest.raises(ProcessError, match="SQLite allows one serving process"):
        ServiceProcess("promissory", sandbox, workers=2).start()


def test_taken_port_is_not_shared(on_postgresql: Sandbox, service: ServiceProcess) -> None:
    """Workers do not share a port that another process has taken."""
    with pytest.raises(ProcessError, match="can't be bound"):
        ServiceProcess("promissory", on_postgresql, listen=service.address, workers=2).start()


def test_workers_end_with_supervisor(service: ServiceProcess) -> None:
    """Workers end when their supervisor is killed. It is the last test: the others need the service."""
    before = workers(service)
    service.kill()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
