"""PostgreSQL only: concurrent writers of one chain, synchronous standbys, a server that crashes."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from development import sandbox as suite
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from estelam.core.errors import Reason
from estelam.core.keys import verifying_keys
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Outcome
from estelam.ledger import search, verify
from estelam.ledger.tables import annulments
from estelam.promissory.v1.note_inquiry_pb2 import GetNotePartiesRequest
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.server import answer_comparison, grpc_server
from estelam.storage import migrate as migrations
from estelam.storage import postgresql
from estelam.storage.schema import check_schema
from estelam.storage.store import AccessMode, Store, StoreError
from tests.conftest import Start, plain_channel, promissory_opening
from tests.e2e.conftest import NOTE, caller, refusal
from tests.integration.storage.test_ledger import Writer
from tools.env import postgres
from tools.env.postgres import PostgresCluster

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")

WRITERS = 6
BATCHES = 40


@on_postgresql
def test_concurrent_writers_form_one_tree(sandbox: Sandbox) -> None:
    """Concurrent writers form one tree."""

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
        heads = reader.heads()

    assert (WRITERS * BATCHES, len(written)) == (len(heads), heads[-1].size)


@on_postgresql
def test_writer_sees_earlier_commits(sandbox: Sandbox) -> None:
    """A writer sees everything committed before it got the append lock."""
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
def test_lock_timeout_is_an_error_and_recovers(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that waits too long for the append lock gets an error, and succeeds afterwards."""
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_SECONDS", 0.2)
    first, second = Writer(sandbox), Writer(sandbox)
    with closing(first.store), closing(second.store):
        with first.store.transaction(), pytest.raises(DBAPIError):
            second.write(1)
        second.write(2)

        assert [1] == [head.size for head in second.heads()]


@on_postgresql
def test_concurrent_migrations_are_safe(cluster: PostgresCluster, sandbox: Sandbox) -> None:
    """Concurrent migrations from several hosts succeed."""
    url, faults = cluster.url(cluster.database()), []

    def migrate() -> None:
        try:
            migrations.migrate(url, sandbox.promissory().MIGRATIONS)
        except Exception as error:  # noqa: BLE001 - checked below
            faults.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with closing(Store(url)) as opened:
        check_schema(opened, sandbox.promissory().MIGRATIONS)

    assert [] == faults


@on_postgresql
def test_commit_is_synced_whatever_the_server_setting(cluster: PostgresCluster, sandbox: Sandbox) -> None:
    """A commit waits for the disk whatever synchronous_commit the server has."""
    database = sandbox.promissory().store.partition("@/")[2].partition("?")[0]
    with cluster.connect(database) as connection:
        connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with (
        closing(Store(sandbox.promissory().store, ledger=AccessMode.WRITE)) as opened,
        opened.transaction() as connection,
    ):
        assert "on" == connection.exec_driver_sql("SHOW synchronous_commit").scalar()


@pytest.fixture
def own_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PostgresCluster, Sandbox]]:
    """A server that the test may stop or misconfigure, with a sandbox on it."""
    # Else the comparison of answers may be what waits for a standby.
    monkeypatch.setattr(answer_comparison, "CHECK_SECONDS", 3600)
    with postgres.cluster() as cluster:
        stores = {name: cluster.url(cluster.database()) for name in ("promissory", "judiciary")}
        sandbox = suite.create_sandbox(tmp_path / "own_cluster", stores=stores)
        suite.load_samples(sandbox)
        yield cluster, sandbox


def test_unsafe_server_is_rejected(own_cluster: tuple[PostgresCluster, Sandbox], start: Start) -> None:
    """A server whose settings could lose commits is rejected."""
    cluster, sandbox = own_cluster
    cluster.stop()
    cluster.configure({"fsync": "off"})
    cluster.start()

    with pytest.raises(StoreError):
        start(promissory_opening(sandbox))


def wait_for_standby(cluster: PostgresCluster, standby: str) -> None:
    """Make commits on *cluster* wait for *standby*; for none if it is empty."""
    with cluster.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby}'")
        connection.execute("SELECT pg_reload_conf()")
    time.sleep(0.5)


def cancel_waits(cluster: PostgresCluster, over: threading.Event) -> None:
    """Cancel waits for a standby, as an operator could."""
    with cluster.connect() as connection:
        while not over.wait(0.05):
            connection.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def test_unconfirmed_answer_is_not_returned(own_cluster: tuple[PostgresCluster, Sandbox], start: Start) -> None:
    """An answer that no standby has confirmed is not returned, even if the wait is cancelled."""
    cluster, sandbox = own_cluster
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0, request_timeout_seconds=3))
    with caller(sandbox, service.address) as ask:
        confirmed = ask()
        wait_for_standby(cluster, "nobody")
        waited = refusal(ask)
        over = threading.Event()
        operator = threading.Thread(target=cancel_waits, args=(cluster, over))
        operator.start()
        cancelled = [refusal(ask) for _ in range(3)]
        over.set()
        operator.join(10)
        wait_for_standby(cluster, "")

        assert ANSWER_YES == confirmed == ask()
    assert (grpc.StatusCode.DEADLINE_EXCEEDED, Reason.ANSWER_LATE) == waited
    assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 3 == cancelled


@pytest.mark.slow
def test_service_recovers_after_server_restart(own_cluster: tuple[PostgresCluster, Sandbox], start: Start) -> None:
    """A database server that crashes is an outage; the service recovers when it is back."""
    cluster, sandbox = own_cluster
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with caller(sandbox, service.address) as ask:
        before = ask()
        cluster.kill()
        gone = [refusal(ask) for _ in range(3)]
        cluster.start()

        assert ANSWER_YES == before == ask()
    assert [(grpc.StatusCode.UNAVAILABLE, Reason.STORE_UNAVAILABLE)] * 3 == gone


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
def test_undelivered_answer_is_annulled(own_cluster: tuple[PostgresCluster, Sandbox], start: Start, end: str) -> None:
    """An answer whose commit had an unknown outcome is annulled by its caller's refusal, and permits no disclosure."""
    cluster, sandbox = own_cluster
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with plain_channel(service.address, ClientIdentity.named(sandbox.pki, "setad")) as channel:
        stub = PromissoryNoteInquiryServiceStub(channel)
        wait_for_standby(cluster, "nobody")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(refusal, lambda: stub.CheckNote(NOTE, timeout=20))
            end_one_wait(cluster, end)
            wait_for_standby(cluster, "")
            answer = asked.result()
        parties = GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001")
        disclosure = refusal(lambda: stub.GetNoteParties(parties, timeout=20))
        confirmed = stub.CheckNote(NOTE, timeout=20)
        disclosed = stub.GetNoteParties(parties, timeout=20)
    outcomes, annulments = recorded(sandbox)

    assert (Reason.STORE_UNAVAILABLE, Reason.NOTE_NOT_CONFIRMED) == (answer[1], disclosure[1])
    assert (ANSWER_YES, True) == (confirmed.answer, disclosed.HasField("obligor"))
    assert ["YES", "STORE_UNAVAILABLE", "NOTE_NOT_CONFIRMED", "YES", "DISCLOSED"] == list(outcomes.values())
    annulled, refused, *_ = outcomes
    assert {annulled: refused} == annulments


@pytest.mark.slow
@pytest.mark.parametrize("is_back", [True, False])
def test_shutdown_with_an_undecided_commit(
    own_cluster: tuple[PostgresCluster, Sandbox], start: Start, monkeypatch: pytest.MonkeyPatch, *, is_back: bool
) -> None:
    """A service that shuts down annuls what a commit of unknown outcome wrote, or logs whose answers it could not."""
    monkeypatch.setattr(grpc_server, "HEALTH_SECONDS", 3600)  # no health check annuls it before
    cluster, sandbox = own_cluster
    service = start(promissory_opening(sandbox, shutdown_delay_seconds=0))
    with caller(sandbox, service.address) as ask:
        wait_for_standby(cluster, "nobody")
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(refusal, ask)
            wait_for_commit(cluster)
            cluster.kill()
            answer = asked.result()
    cluster.configure({"synchronous_standby_names": "''"})
    if is_back:
        cluster.start()
    with capture_logs() as logs:
        service.close()
    if not is_back:
        cluster.start()
    outcomes, annulments = recorded(sandbox)
    abandoned = [len(log["inquiry_ids"]) for log in logs if log["event"] == "undecided.abandoned"]

    assert Reason.STORE_UNAVAILABLE == answer[1]
    if is_back:
        assert (["YES", "STORE_UNAVAILABLE"], []) == (list(outcomes.values()), abandoned)
        answered, refused = outcomes
        assert {answered: refused} == annulments
    else:
        assert (["YES"], {}, [1]) == (list(outcomes.values()), annulments, abandoned)


def wait_for_commit(cluster: PostgresCluster) -> None:
    """Wait until a commit waits for a standby: this server has it on its disk."""
    with cluster.connect() as connection:
        while not connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone():
            time.sleep(0.05)


def end_one_wait(cluster: PostgresCluster, function: str) -> None:
    """End the first wait for a standby, as an operator or a lost connection could."""
    ended = None
    with cluster.connect() as connection:
        while ended is None:
            time.sleep(0.05)
            ended = connection.execute(
                f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"  # noqa: S608 - constants
            ).fetchone()


def recorded(sandbox: Sandbox) -> tuple[dict[int, str], dict[int, int]]:
    """The outcome of each inquiry by its entry, and the annulments; the ledger is verified."""
    settings = sandbox.promissory()
    with closing(Store(settings.store)) as store, store.transaction() as connection:
        assert list(verify.verify_ledger(connection, verifying_keys(settings.signing_certificates)))
        stored = [each for each in search.entries_between(connection, 0, None) if each.entry.caller]
        outcomes = {each.index: each.entry.refusal or Outcome.Name(each.entry.outcome)[8:] for each in stored}
        return outcomes, annulments(connection)
