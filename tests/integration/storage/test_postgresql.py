"""What only PostgreSQL is used for: many writers of one chain, standbys that are waited for, a server that falls."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from sqlalchemy.exc import DBAPIError

from estelam.core.errors import Reason
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES
from estelam.storage import migrate as migrations
from estelam.storage import postgresql
from estelam.storage.store import AccessMode, Store, StoreError
from tests.conftest import Start, promissory_opening
from tests.e2e.conftest import caller, refusal
from tests.integration.storage.test_ledger import Writer
from tools.env import postgres
from tools.env import sandbox as suite
from tools.env.postgres import PostgresCluster
from tools.env.sandbox import Sandbox

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")

WRITERS = 6
BATCHES = 40


@on_postgresql
def test_many_writers_at_once_make_one_chain(sandbox: Sandbox) -> None:
    def write() -> None:
        writer = Writer(sandbox)
        with closing(writer.store):
            for number in range(BATCHES):
                written.extend(writer.write(*range(1, 2 + number % 3)))

    written: list[object] = []
    threads = [threading.Thread(target=write) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    reader = Writer(sandbox)
    with closing(reader.store):
        heads = reader.walk()

    assert (WRITERS * BATCHES, len(written)) == (heads[-1].number, heads[-1].entries)


@on_postgresql
def test_a_writer_sees_all_that_was_committed_before_its_turn(sandbox: Sandbox) -> None:
    first, second = Writer(sandbox), Writer(sandbox)
    entries: list[int] = []

    def later() -> None:
        with second.store.transaction() as connection:
            entries.append(connection.exec_driver_sql("SELECT count(*) FROM ledger.entry").scalar_one())

    with closing(first.store), closing(second.store):
        waiting = threading.Thread(target=later)
        with first.store.transaction() as connection:
            waiting.start()
            time.sleep(0.2)
            first.append(connection, 1)
        waiting.join(10)

    assert [1] == entries


@on_postgresql
def test_whoever_waits_too_long_for_a_turn_is_told_so_and_goes_on_afterwards(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_SECONDS", 0.2)
    first, second = Writer(sandbox), Writer(sandbox)
    with closing(first.store), closing(second.store):
        with first.store.transaction(), pytest.raises(DBAPIError):
            second.write(1)
        second.write(2)

        assert [1] == [head.entries for head in second.walk()]


@on_postgresql
def test_migrating_at_the_same_time_from_many_hosts_is_harmless(cluster: PostgresCluster, sandbox: Sandbox) -> None:
    url, faults = cluster.url(cluster.database()), []

    def migrate() -> None:
        try:
            migrations.migrate(url, sandbox.promissory().MIGRATIONS)
        except Exception as error:  # noqa: BLE001 - looked at below
            faults.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with closing(Store(url)) as opened:
        migrations.check_schema(opened, sandbox.promissory().MIGRATIONS)

    assert [] == faults


@on_postgresql
def test_a_commit_is_for_the_disk_whatever_the_server_is_set_to(cluster: PostgresCluster, sandbox: Sandbox) -> None:
    database = sandbox.promissory().store.partition("@/")[2].partition("?")[0]
    with cluster.connect(database) as connection:
        connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with (
        closing(Store(sandbox.promissory().store, ledger=AccessMode.WRITE)) as opened,
        opened.transaction() as connection,
    ):
        assert "on" == connection.exec_driver_sql("SHOW synchronous_commit").scalar()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[PostgresCluster, Sandbox]]:
    """A server that this test may harm, with a suite on it."""
    with postgres.cluster() as cluster:
        stores = {name: cluster.url(cluster.database()) for name in ("promissory", "judiciary")}
        sandbox = suite.create_sandbox(tmp_path / "alone", stores=stores)
        suite.load_samples(sandbox)
        yield cluster, sandbox


def test_a_server_that_would_lose_commits_is_not_served_from(
    alone: tuple[PostgresCluster, Sandbox], start: Start
) -> None:
    cluster, sandbox = alone
    cluster.stop()
    cluster.configure({"fsync": "off"})
    cluster.start()

    with pytest.raises(StoreError):
        start(promissory_opening(sandbox))


def follow(cluster: PostgresCluster, standby: str) -> None:
    """From now on a commit on *cluster* waits for *standby*; for nobody where it is empty."""
    with cluster.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)


def cancel_waits(cluster: PostgresCluster, over: threading.Event) -> None:
    """What an operator may do who has lost patience with a standby."""
    with cluster.connect() as connection:
        while not over.wait(0.05):
            connection.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def test_an_answer_that_no_standby_has_confirmed_is_not_spoken_even_if_the_wait_is_cancelled(
    alone: tuple[PostgresCluster, Sandbox], start: Start
) -> None:
    cluster, sandbox = alone
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0, request_timeout_seconds=3))
    with caller(sandbox, service.address) as ask:
        confirmed = ask()
        follow(cluster, "nobody")
        waited = refusal(ask)
        over = threading.Event()
        operator = threading.Thread(target=cancel_waits, args=(cluster, over))
        operator.start()
        cancelled = [refusal(ask) for _ in range(3)]
        over.set()
        operator.join(10)
        follow(cluster, "")

        assert ANSWER_YES == confirmed == ask()
    assert (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.ANSWER_LATE) == waited
    assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 3 == cancelled


def test_a_server_that_falls_and_comes_back_is_an_outage_and_then_taken_up_again(
    alone: tuple[PostgresCluster, Sandbox], start: Start
) -> None:
    cluster, sandbox = alone
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with caller(sandbox, service.address) as ask:
        before = ask()
        cluster.kill()
        gone = [refusal(ask) for _ in range(3)]
        cluster.start()

        assert ANSWER_YES == before == ask()
    assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 3 == gone
