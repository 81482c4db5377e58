"""PostgreSQL stopped or frozen: health and callers see it within seconds, and the service recovers by itself."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from development import sandbox as suite
from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from tests.e2e.conftest import caller, refusal
from tests.e2e.test_serving import NOT_SERVING, SERVING, STORE_UNAVAILABLE, health, until
from tools.env import postgres
from tools.env.postgres import PostgresCluster

pytestmark = pytest.mark.slow

LATE = (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.ANSWER_LATE)


@dataclass(frozen=True)
class PostgresService:
    """A sandbox on its own PostgreSQL server, and its promissory service."""

    cluster: PostgresCluster
    sandbox: Sandbox
    service: ServiceProcess

    def reaches(self, status: int) -> bool:
        """Whether health becomes *status* within the timeout."""
        return until(lambda: health(self.sandbox, self.service.address) == status)


@pytest.fixture(scope="module")
def postgres_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresService]:
    with postgres.cluster() as cluster:
        stores = {name: cluster.url(cluster.database()) for name in ("promissory", "judiciary")}
        sandbox = suite.create_sandbox(tmp_path_factory.mktemp("gone"), stores=stores)
        suite.load_samples(sandbox)
        environ = {"ESTELAM_PROMISSORY_REQUEST_TIMEOUT_SECONDS": "2"}
        with ServiceProcess("promissory", sandbox, environ=environ) as service:
            yield PostgresService(cluster, sandbox, service)


@contextmanager
def frozen(cluster: PostgresCluster) -> Iterator[None]:
    """Freeze all processes of the server during the block: connections are neither refused nor answered."""
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


def test_stopped_postgresql_is_an_outage(postgres_service: PostgresService) -> None:
    """A stopped PostgreSQL is an outage, and the service recovers by itself."""
    with caller(postgres_service.sandbox, postgres_service.service.address) as ask:
        before = ask()
        postgres_service.cluster.stop()
        gone = [refusal(ask) for _ in range(5)]
        noticed = postgres_service.reaches(NOT_SERVING)
        postgres_service.cluster.start()
        recovered = postgres_service.reaches(SERVING)

        assert (True, True) == (noticed, recovered)
        assert ANSWER_YES == before == ask()
    assert [STORE_UNAVAILABLE] * 5 == gone


def test_frozen_postgresql_is_an_outage(postgres_service: PostgresService) -> None:
    """A frozen PostgreSQL is an outage, and the service recovers by itself."""
    with caller(postgres_service.sandbox, postgres_service.service.address) as ask:
        before = ask()
        with frozen(postgres_service.cluster):
            still = [refusal(ask) for _ in range(2)]
            noticed = postgres_service.reaches(NOT_SERVING)
        recovered = postgres_service.reaches(SERVING)

        assert (True, True) == (noticed, recovered)
        assert ANSWER_YES == before == ask()
    assert [LATE] * 2 == still
