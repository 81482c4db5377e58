"""PostgreSQL stopped, or standing still: health says so within seconds, callers are told, and all goes on by itself."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from tests.e2e.conftest import caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, STORE_UNAVAILABLE, health, until
from tools.env import postgres
from tools.env import sandbox as suite
from tools.env.postgres import PostgresCluster
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox

LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.ANSWER_LATE)


@dataclass(frozen=True)
class House:
    """A suite on a PostgreSQL server of its own, and its promissory service."""

    cluster: PostgresCluster
    sandbox: Sandbox
    service: ServiceProcess

    def says(self, status: int) -> bool:
        """Whether health says *status* before patience ends."""
        return until(lambda: health(self.sandbox, self.service.address) == status)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with postgres.cluster() as cluster:
        stores = {name: cluster.url(cluster.database()) for name in ("promissory", "judiciary")}
        sandbox = suite.create_sandbox(tmp_path_factory.mktemp("gone"), stores=stores)
        suite.load_samples(sandbox)
        environ = {"ESTELAM_PROMISSORY_REQUEST_TIMEOUT_SECONDS": "2"}
        with ServiceProcess("promissory", sandbox, environ=environ) as service:
            yield House(cluster, sandbox, service)


@contextmanager
def standing_still(cluster: PostgresCluster) -> Iterator[None]:
    """While the block runs, no process of the server does anything: nothing is refused, and nothing is answered."""
    first = int((cluster.data / "postmaster.pid").read_text("ascii").splitlines()[0])
    children = Path(f"/proc/{first}/task/{first}/children").read_text("ascii").split()
    processes: Sequence[int] = (first, *map(int, children))
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_a_store_that_is_stopped_is_an_outage_and_is_taken_up_again_by_itself(house: House) -> None:
    with caller(house.sandbox, house.service.address) as ask:
        before = ask()
        house.cluster.stop()
        gone = [refusal(ask) for _ in range(5)]
        noticed = house.says(NOT_SERVING)
        house.cluster.start()
        recovered = house.says(SERVING)

        assert (True, True) == (noticed, recovered)
        assert ANSWER_YES == before == ask()
    assert [STORE_UNAVAILABLE] * 5 == gone


def test_a_store_that_stands_still_is_an_outage_and_is_taken_up_again_by_itself(house: House) -> None:
    with caller(house.sandbox, house.service.address) as ask:
        before = ask()
        with standing_still(house.cluster):
            still = [refusal(ask) for _ in range(2)]
            noticed = house.says(NOT_SERVING)
        recovered = house.says(SERVING)

        assert (True, True) == (noticed, recovered)
        assert ANSWER_YES == before == ask()
    assert [LATE] * 2 == still
