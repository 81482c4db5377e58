"""A disk that is slow, broken or full: real errors from real calls, put before the C library's own in one process."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.ledger import verify
from estelam.ledger.verify import Head
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import Store
from tests.conftest import copy, plain_channel
from tests.e2e.conftest import NOTE, caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, STORE_UNAVAILABLE, health, until
from tools.env import postgres
from tools.env import sandbox as suite
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox

SOURCE = Path(__file__).parents[1] / "support" / "disk.c"
COMPILER = shutil.which("cc")
CALLERS = 32

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler to come between a process and its disk")


@dataclass(frozen=True)
class House:
    """A suite whose promissory service writes to a disk that does as it is told."""

    sandbox: Sandbox
    service: ServiceProcess
    disk: Path

    def head(self) -> Head:
        """The end of the ledger's chain, verified."""
        settings = self.sandbox.promissory()
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            heads = list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        return heads[-1] if heads else Head(0, b"", 0)


@pytest.fixture(scope="module")
def house(template: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("disk")
    sandbox = copy(template, folder / "suite")
    with ServiceProcess("promissory", sandbox, environ=before_the_disk(folder)) as service:
        yield House(sandbox, service, folder / "told")


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[House]:
    """The same, where the disk is that of a PostgreSQL server."""
    with postgres.cluster() as cluster:
        # In the server's own folder: it is another user's, and must read both.
        cluster.environ = before_the_disk(cluster.folder)
        cluster.stop()
        cluster.start()
        sandbox = suite.create_sandbox(tmp_path / "suite", stores={"promissory": cluster.url(cluster.database())})
        suite.load_samples(sandbox)
        with ServiceProcess("promissory", sandbox) as service:
            yield House(sandbox, service, cluster.folder / "told")


def before_the_disk(folder: Path) -> dict[str, str]:
    """The environment that puts the library between a process and its disk, which does as a file in told/ says."""
    library, told = folder / "disk.so", folder / "told"
    subprocess.run([COMPILER or "cc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    told.mkdir()
    return {"LD_PRELOAD": str(library), "DISK": str(told)}


Tell = Callable[..., None]


@pytest.fixture
def tell(house: House) -> Iterator[Tell]:
    """Tell the disk what to do, until the end of the test."""

    def tell(what: str, number: str = "") -> None:
        (house.disk / what).write_text(number, "ascii")

    yield tell
    for told in house.disk.iterdir():
        told.unlink()
    assert until(lambda: health(house.sandbox, house.service.address) == SERVING)


def test_on_a_slow_disk_callers_share_the_wait(house: House, tell: Tell) -> None:
    before = house.head()
    tell("slow", "300")
    with plain_channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        with ThreadPoolExecutor(CALLERS) as callers:
            answers = list(callers.map(lambda _: stub.CheckNote(NOTE, timeout=30).answer, range(CALLERS)))
    after = house.head()

    assert [ANSWER_YES] * CALLERS == answers
    assert CALLERS == after.entries - before.entries
    assert after.number - before.number <= CALLERS / 4


def test_who_can_wait_no_longer_is_told_so_and_what_has_begun_is_written_down_all_the_same(
    house: House, tell: Tell
) -> None:
    before = house.head()
    tell("slow", "1500")
    with plain_channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        with pytest.raises(grpc.RpcError) as caught:
            stub.CheckNote(NOTE, timeout=0.5)

    assert grpc.StatusCode.DEADLINE_EXCEEDED == caught.value.code()
    assert until(lambda: house.head().entries > before.entries)


def test_a_disk_that_hangs_is_an_outage_that_health_tells_of_and_that_ends_by_itself(house: House, tell: Tell) -> None:
    tell("slow", "6000")
    with (
        plain_channel(house.service.address, ClientIdentity.named(house.sandbox.pki, "setad")) as opened,
        ThreadPoolExecutor(1) as waiting,
    ):
        stub = PromissoryNoteInquiryServiceStub(opened)
        asked = time.monotonic()
        answer = waiting.submit(lambda: stub.CheckNote(NOTE, timeout=20).answer)
        noticed = until(lambda: health(house.sandbox, house.service.address) == NOT_SERVING)
        took = time.monotonic() - asked

        (house.disk / "slow").unlink()

        assert noticed
        assert took < 6
        assert ANSWER_YES == answer.result()


@pytest.mark.parametrize("what", ["broken", "full"])
def test_a_disk_that_fails_is_an_outage_that_loses_nothing_and_ends_when_it_is_mended(
    house: House, tell: Tell, what: str
) -> None:
    with caller(house.sandbox, house.service.address) as ask:
        ask()
        before = house.head()
        tell(what)
        failed = [refusal(ask) for _ in range(5)]
        during = house.head()
        (house.disk / what).unlink()

        assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 5 == failed == [STORE_UNAVAILABLE] * 5
        # What could not be brought to the disk may yet stand there: a record proves a decision, not its delivery.
        assert during.entries - before.entries <= 1
        assert ANSWER_YES == ask()
    assert during.entries + 1 == house.head().entries


@pytest.mark.parametrize("what", ["broken", "full"])
def test_behind_postgresql_too_a_disk_that_fails_is_an_outage_that_loses_nothing(behind: House, what: str) -> None:
    told = behind.disk / what
    with caller(behind.sandbox, behind.service.address) as ask:
        ask()
        before = behind.head()
        told.touch()
        failed = [refusal(ask) for _ in range(3)]
        told.unlink()

        assert [STORE_UNAVAILABLE] * 3 == failed
        assert until(lambda: answered(ask))
    # The journal may yet hold each that could not be synced: a record proves a decision, not its delivery.
    assert 1 <= behind.head().entries - before.entries <= 1 + len(failed)


def answered(ask: Callable[[], int]) -> bool:
    """Whether there is an answer."""
    try:
        return ask() == ANSWER_YES
    except grpc.RpcError:
        return False
