"""Promise 2: an answer that a caller was given stands in the ledger, whatever then becomes of the service."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from scripts import torture
from scripts.sandbox import Sandbox
from scripts.torture import Acknowledged, Tally, Victim

from estelam.client import Identity, channel
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.store import Mode, Store

KILLS = 20


@pytest.mark.timeout(300)
def test_every_acknowledged_answer_is_in_the_ledger_after_kill_9_under_load(tmp_path: Path) -> None:
    tallies: list[Tally] = []

    total = torture.run(tmp_path, KILLS, seed=1404, told=tallies.append)

    assert (KILLS, 0, 0) == (total.rounds, total.lost, total.wrong)
    assert all(tally.acknowledged for tally in tallies)


def test_the_search_finds_an_answer_that_was_lost(tmp_path: Path) -> None:
    victim = Victim.create(tmp_path, seed=1)
    with victim.service as service, channel(service.address, Identity.named(victim.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        request = pb.CheckNoteRequest(
            serial=torture.SERIAL,
            obligor_id=torture.OBLIGOR,
            beneficiary_id=torture.HOLDER,
            amount_rials=torture.RIALS,
        )
        given = [Acknowledged(request, stub.CheckNote(request)) for _ in range(2)]
    with closing(sqlite3.connect(victim.sandbox.folder / "promissory" / "ledger.db")) as store, store:
        for table, last in (("block", "number"), ("entry", "sequence")):
            store.execute(f"DELETE FROM {table} WHERE {last} = 2")  # noqa: S608 - two constants

    assert Tally(rounds=1, acknowledged=2, lost=1) == torture.look(victim, given)


def test_a_commit_waits_for_the_disk_and_so_outlives_a_power_cut_too(sandbox: Sandbox) -> None:
    full = 2

    with closing(Store(sandbox.promissory().store, ledger=Mode.WRITE)) as store, store.transaction() as connection:
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA ledger.{name}").scalar() for name in ("journal_mode", "synchronous")
        )

        assert ("wal", full) == (journal, synchronous)
