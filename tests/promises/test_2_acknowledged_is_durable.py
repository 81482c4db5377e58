"""Promise 2: an answer that a caller was given stands in the ledger, whatever then becomes of the service."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from scripts import sandbox as suite
from scripts.processes import Service
from scripts.sandbox import Sandbox
from torture import kill
from torture.kill import Acknowledged, Victim
from torture.trial import Task

from estelam.client import Identity, channel
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.store import Mode, Store

KILLS = 20


@pytest.mark.timeout(300)
def test_every_acknowledged_answer_is_in_the_ledger_after_kill_9_under_load(tmp_path: Path) -> None:
    told: list[int] = []

    result = kill.run(Task(tmp_path, KILLS, seed=1404, told=told.append))

    assert ([], KILLS, [1] * KILLS) == (result.losses, result.rounds, told)
    assert result.checked > KILLS


def test_the_search_finds_an_answer_that_was_lost(tmp_path: Path) -> None:
    home = suite.create(tmp_path)
    suite.load_samples(home)
    victim = Victim(home, Service("promissory", home), Random(1))
    with victim.service as service, channel(service.address, Identity.named(victim.sandbox.pki, "setad")) as opened:
        stub = PromissoryNoteInquiryServiceStub(opened)
        request = pb.CheckNoteRequest(
            serial=kill.SERIAL,
            obligor_id=kill.OBLIGOR,
            beneficiary_id=kill.HOLDER,
            amount_rials=kill.RIALS,
        )
        given = [Acknowledged(request, stub.CheckNote(request)) for _ in range(2)]
    with closing(sqlite3.connect(victim.sandbox.folder / "promissory" / "ledger.db")) as store, store:
        for table, last in (("block", "number"), ("entry", "sequence")):
            store.execute(f"DELETE FROM {table} WHERE {last} = 2")  # noqa: S608 - two constants

    found = kill.look(victim, given)

    assert (2, ["kill: an answer is missing, block 2"]) == (found.checked, found.losses)


def test_a_commit_waits_for_the_disk_and_so_outlives_a_power_cut_too(sandbox: Sandbox) -> None:
    full = 2

    with closing(Store(sandbox.promissory().store, ledger=Mode.WRITE)) as store, store.transaction() as connection:
        journal, synchronous = (
            connection.exec_driver_sql(f"PRAGMA ledger.{name}").scalar() for name in ("journal_mode", "synchronous")
        )

        assert ("wal", full) == (journal, synchronous)
