"""A slow, failing or full disk: a preloaded library injects real errors into the calls of one process."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from development import sandbox as suite
from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import verify
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import Store
from tests.conftest import copy, plain_channel
from tests.e2e.conftest import NOTE, caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, STORE_UNAVAILABLE, health, until
from tools.env import postgres

SOURCE = Path(__file__).parents[1] / "support" / "disk.c"
COMPILER = shutil.which("cc")
CALLERS = 32

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler to come between a process and its disk")


class Head(NamedTuple):
    """The numbers of entries and commits of a ledger."""

    size: int
    commits: int


@dataclass(frozen=True)
class DiskUnderTest:
    """A sandbox whose promissory service writes to a disk with injected faults."""

    sandbox: Sandbox
    service: ServiceProcess
    control: Path

    def head(self) -> Head:
        """The head of the ledger, after verification."""
        settings = self.sandbox.promissory()
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        return Head(heads[-1].size if heads else 0, len(heads))


@pytest.fixture(scope="module")
def disk(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiskUnderTest]:
    folder = tmp_path_factory.mktemp("disk")
    sandbox = copy(template, folder / "suite")
    with ServiceProcess("promissory", sandbox, environ=preload_environment(folder)) as service:
        yield DiskUnderTest(sandbox, service, folder / "faults")


@pytest.fixture
def postgresql_disk(tmp_path: Path) -> Iterator[DiskUnderTest]:
    """The same with the faults on the disk of a PostgreSQL server."""
    with postgres.cluster() as cluster:
        # In the server's own folder: the server runs as another user and must read both.
        cluster.environ = preload_environment(cluster.folder)
        cluster.stop()
        cluster.start()
        sandbox = suite.create_sandbox(tmp_path / "suite", stores={"promissory": cluster.url(cluster.database())})
        suite.load_samples(sandbox)
        with ServiceProcess("promissory", sandbox) as service:
            yield DiskUnderTest(sandbox, service, cluster.folder / "faults")


def preload_environment(folder: Path) -> dict[str, str]:
    """The environment that preloads the library; files in the control folder select the faults."""
    library, control = folder / "disk.so", folder / "faults"
    subprocess.run([COMPILER or "cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    control.mkdir()
    return {"LD_PRELOAD": str(library), "DISK": str(control)}


SetFault = Callable[..., None]


@pytest.fixture
def set_fault(disk: DiskUnderTest) -> Iterator[SetFault]:
    """Selects a disk fault until the end of the test."""

    def set_fault(what: str, number: str = "") -> None:
        (disk.control / what).write_text(number, "ascii")

    yield set_fault
    for control in disk.control.iterdir():
        control.unlink()
    assert until(lambda: health(disk.sandbox, disk.service.address) == SERVING)


@pytest.mark.slow
def test_slow_disk_is_shared_by_batching(disk: DiskUnderTest, set_fault: SetFault) -> None:
    """On a slow disk concurrent callers share the wait for one commit."""
    before = disk.head()
    set_fault("slow", "300")
    with plain_channel(disk.service.address, ClientIdentity.named(disk.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(lambda _: stub.CheckNote(NOTE, timeout=30).answer, range(CALLERS)))
    after = disk.head()

    assert [ANSWER_YES] * CALLERS == answers
    assert CALLERS == after.size - before.size
    assert after.commits - before.commits <= CALLERS / 4


def test_deadline_does_not_cancel_commit(disk: DiskUnderTest, set_fault: SetFault) -> None:
    """A caller whose deadline passes gets ANSWER_LATE, and the batch that has begun is still recorded."""
    before = disk.head()
    set_fault("slow", "1500")
    with plain_channel(disk.service.address, ClientIdentity.named(disk.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CheckNote(NOTE, timeout=0.5)

    assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
    assert until(lambda: disk.head().size > before.size)


def test_hanging_disk_is_an_outage(disk: DiskUnderTest, set_fault: SetFault) -> None:
    """A hanging disk is an outage, shown by health, that ends when the disk responds again."""
    set_fault("slow", "6000")
    with (
        plain_channel(disk.service.address, ClientIdentity.named(disk.sandbox.pki, "setad")) as opened,
        ThreadPoolExecutor(1) as waiting,
    ):
        stub = PromissoryNoteInquiryServiceStub(opened)
        asked = time.monotonic()
        answer = waiting.submit(lambda: stub.CheckNote(NOTE, timeout=20).answer)
        noticed = until(lambda: health(disk.sandbox, disk.service.address) == NOT_SERVING)
        took = time.monotonic() - asked

        (disk.control / "slow").unlink()

        assert noticed
        assert took < 6
        assert ANSWER_YES == answer.result()


@pytest.mark.parametrize("what", ["broken", "full"])
def test_failing_disk_loses_nothing(disk: DiskUnderTest, set_fault: SetFault, what: str) -> None:
    """A failing disk is an outage that loses no acknowledged answer and ends when the disk works again."""
    with caller(disk.sandbox, disk.service.address) as ask:
        ask()
        before = disk.head()
        set_fault(what)
        failed = [refusal(ask) for _ in range(5)]
        during = disk.head()
        (disk.control / what).unlink()

        assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 5 == failed == [STORE_UNAVAILABLE] * 5
        # An entry whose sync failed may still be on disk; an entry of its refusal then annuls it.
        undelivered = during.size - before.size
        assert undelivered <= 1
        assert ANSWER_YES == ask()
    assert during.size + undelivered + 1 == disk.head().size


@pytest.mark.slow
@pytest.mark.parametrize("what", ["broken", "full"])
def test_failing_postgresql_disk_loses_nothing(postgresql_disk: DiskUnderTest, what: str) -> None:
    """A failing disk under PostgreSQL is an outage that loses no acknowledged answer."""
    control = postgresql_disk.control / what
    with caller(postgresql_disk.sandbox, postgresql_disk.service.address) as ask:
        ask()
        before = postgresql_disk.head()
        control.touch()
        failed = [refusal(ask) for _ in range(3)]
        control.unlink()

        assert [STORE_UNAVAILABLE] * 3 == failed
        assert until(lambda: answered(ask))
    # The journal may contain entries whose sync failed: a record proves a decision, not its delivery.
    assert 1 <= postgresql_disk.head().size - before.size <= 1 + len(failed)


def answered(ask: Callable[[], int]) -> bool:
    """Whether the call is answered."""
    try:
        return ask() == ANSWER_YES
    except grpc.RpcError:
        return False
