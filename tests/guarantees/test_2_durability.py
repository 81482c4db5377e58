"""Promise 2: an answer that a caller was given stands in the ledger, whatever then becomes of the service."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from estelam.client.channel import ClientIdentity, channel
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.storage.store import AccessMode, Store
from tools.chaos import deployments, kill, load_clients
from tools.chaos.load_clients import Acknowledged
from tools.chaos.scenario import Scenario, Task
from tools.env.processes import ServiceProcess
from tools.env.sandbox import Sandbox


@pytest.mark.timeout(300)
@pytest.mark.parametrize("trial", [kill.SCENARIO, kill.POSTGRESQL], ids=["sqlite", "postgresql"])
def test_every_acknowledged_answer_is_in_the_ledger_after_kill_9_under_load(trial: Scenario, tmp_path: Path) -> None:
    told: list[int] = []

    result = trial.run(Task(tmp_path, trial.short, seed=1404, progress=told.append))

    assert ([], trial.short, [1] * trial.short) == (result.losses, result.rounds, told)
    assert result.checked > trial.short


def test_the_search_finds_an_answer_that_was_lost(tmp_path: Path) -> None:
    with deployments.on_sqlite(tmp_path) as build:
        home = build("home")
    with (
        ServiceProcess("promissory", home.sandbox) as service,
        channel(service.address, ClientIdentity.named(home.sandbox.pki, "setad")) as opened,
    ):
        stub = PromissoryNoteInquiryServiceStub(opened)
        request = pb.CheckNoteRequest(
            serial=load_clients.SERIAL,
            obligor_id=load_clients.OBLIGOR,
            beneficiary_id=load_clients.HOLDER,
            amount_rials=load_clients.RIALS,
        )
        given = [Acknowledged(request, stub.CheckNote(request)) for _ in range(2)]
    with closing(sqlite3.connect(home.sandbox.folder / "promissory" / "ledger.db")) as store, store:
        for table, last in (("block", "number"), ("entry", "sequence")):
            store.execute(f"DELETE FROM {table} WHERE {last} = 2")  # noqa: S608 - two constants

    found = kill.Ledger(home).look(given)

    assert (2, ["an answer is missing, block 2"]) == (found.checked, found.losses)


def test_a_commit_waits_for_the_disk_and_so_outlives_a_power_cut_too(sandbox: Sandbox) -> None:
    full = 2

    with (
        closing(Store(sandbox.promissory().store, ledger=AccessMode.WRITE)) as store,
        store.transaction() as connection,
    ):
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA ledger.{name}").scalar() for name in ("journal_mode", "synchronous")
        )

        assert ("wal", full) == (journal, synchronous)
