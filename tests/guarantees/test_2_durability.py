"""Guarantee 2: an answer that a caller has received is in the ledger, whatever happens to the service afterwards."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from development.processes import ServiceProcess
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts.checkpoint import parse
from estelam.storage.store import AccessMode, Store
from tools.chaos import deployments, kill, load_clients
from tools.chaos.load_clients import Acknowledged
from tools.chaos.scenario import Scenario, Task


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "scenario", [kill.SCENARIO, pytest.param(kill.POSTGRESQL, marks=pytest.mark.slow)], ids=["sqlite", "postgresql"]
)
def test_acknowledged_answers_survive_kill(scenario: Scenario, tmp_path: Path) -> None:
    """Every acknowledged answer is in the ledger after `kill -9` under load."""
    progress: list[int] = []

    result = scenario.run(Task(tmp_path, scenario.short, seed=1404, progress=progress.append))

    assert ([], scenario.short, [1] * scenario.short) == (result.losses, result.rounds, progress)
    assert result.checked > scenario.short


@pytest.mark.slow
def test_check_detects_lost_answer(tmp_path: Path) -> None:
    """The check for lost answers reports an acknowledged answer that was deleted."""
    with deployments.on_sqlite(tmp_path) as build:
        deployment = build("home")
    with (
        ServiceProcess("promissory", deployment.sandbox) as service,
        channel(service.address, ClientIdentity.named(deployment.sandbox.pki, "setad")) as opened,
    ):
        stub = PromissoryNoteInquiryServiceStub(opened)
        request = pb.CheckNoteRequest(
            serial=load_clients.SERIAL,
            obligor_id=load_clients.OBLIGOR,
            beneficiary_id=load_clients.HOLDER,
            amount_rials=load_clients.RIALS,
        )
        acknowledged = [Acknowledged(request, stub.CheckNote(request)) for _ in range(2)]
    with closing(sqlite3.connect(deployment.sandbox.folder / "promissory" / "ledger.db")) as store, store:
        for table, last in (("checkpoint", "size"), ("entry", '"index"'), ("confirmation", '"index"')):
            store.execute(f"DELETE FROM {table} WHERE {last} = (SELECT max({last}) FROM {table})")  # noqa: S608 - constants

    found = kill.Ledger(deployment).look(acknowledged)

    checkpoint = parse(acknowledged[-1].reply.receipt.checkpoint).checkpoint
    assert (2, [f"an answer is missing, checkpoint {checkpoint}"]) == (found.checked, found.losses)


def test_commit_is_synced_to_disk(sandbox: Sandbox) -> None:
    """The ledger commits with synchronous=FULL, so that a commit survives a power failure."""
    full = 2

    with (
        closing(Store(sandbox.promissory().store, ledger=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA ledger.{name}").scalar() for name in ("journal_mode", "synchronous")
        )

        assert ("wal", full) == (journal, synchronous)
