"""Many processes behind one port, on one store."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from estelam.client.channel import ClientIdentity, channel
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import verify
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import Store
from tests.conftest import STORING
from tests.e2e.conftest import NOTE
from tools.env import sandbox as suite
from tools.env.postgres import PostgresCluster
from tools.env.processes import ProcessError, ServiceProcess
from tools.env.sandbox import Sandbox

SECONDS = 30


@pytest.fixture(scope="module")
def crowded(cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """A suite on PostgreSQL, with the samples."""
    stores = {name: cluster.url(cluster.database()) for name in STORING}
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("crowded"), stores=stores)
    suite.load_samples(sandbox)
    return sandbox


@pytest.fixture
def service(crowded: Sandbox) -> Iterator[ServiceProcess]:
    with ServiceProcess("promissory", crowded, workers=2) as service:
        yield service


def workers(service: ServiceProcess) -> set[int]:
    """The processes of the service that serve: all but the one that watches them and Python's own of shared things."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text("ascii").split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(sandbox: Sandbox, service: ServiceProcess, times: int) -> list[int]:
    """Ask over a new connection each time, through our own client: with its retries."""
    answers: list[int] = []
    for _ in range(times):
        with channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as opened:
            answers.append(PromissoryNoteInquiryServiceStub(opened).CheckNote(NOTE, timeout=SECONDS).answer)
    return answers


def test_a_worker_that_falls_is_replaced_and_every_caller_is_answered(
    crowded: Sandbox, service: ServiceProcess
) -> None:
    before = workers(service)
    os.kill(min(before), signal.SIGKILL)
    answers = ask(crowded, service, 20)
    until(lambda: len(workers(service)) == 2 and workers(service) != before)

    assert [ANSWER_YES] * 40 == answers + ask(crowded, service, 20)
    assert max(before) in workers(service)


def test_a_renewal_replaces_every_worker_and_every_caller_is_answered(
    crowded: Sandbox, service: ServiceProcess
) -> None:
    before = workers(service)
    answers: list[int] = []
    os.kill(service.pid, signal.SIGHUP)
    while workers(service) & before or len(workers(service)) != 2:
        answers += ask(crowded, service, 1)

    assert {ANSWER_YES} == set(answers)


def test_all_that_any_worker_answered_stands_in_one_chain(crowded: Sandbox, service: ServiceProcess) -> None:
    settings = crowded.promissory()

    def entries() -> int:
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        return heads[-1].entries if heads else 0

    before = entries()
    ask(crowded, service, 30)

    assert before + 30 == entries()


def test_workers_end_with_whoever_watches_them(service: ServiceProcess) -> None:
    before = workers(service)
    service.kill()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))


def test_on_sqlite_more_than_one_worker_is_refused_with_the_reason(sandbox: Sandbox) -> None:
    with pytest.raises(ProcessError, match="SQLite allows one serving process"):
        ServiceProcess("promissory", sandbox, workers=2).start()


def test_a_port_that_is_taken_is_not_shared(crowded: Sandbox, service: ServiceProcess) -> None:
    with pytest.raises(ProcessError, match="can't be bound"):
        ServiceProcess("promissory", crowded, listen=service.address, workers=2).start()
