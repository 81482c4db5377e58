"""Notes of loads on every database: the chain says which data each answer is from, whatever the clocks say."""

import csv
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import uuid_utils
from sqlalchemy import delete

from estelam.core.clock import Clock, to_datetime
from estelam.core.exceptions import UserFacingError
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.core.model import Answer, Caller, Inquiry, person_subject
from estelam.core.parties import Parties
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.ledger import loads, search, verify
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.recorder import InquiryRecorder
from estelam.receipts import receipt
from estelam.storage.facts import load_table
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from judiciary.methods import CHECK_BY_NATIONAL_ID, LOOKUPS
from tests.conftest import both_engines
from tools.env.sandbox import SAMPLES, Sandbox, load_file

pytestmark = both_engines

CALLER = Caller("99001187852", "0" * 64)
PERSON = "9990000042"


class Worker:
    """One of any number of processes that answer from one store."""

    def __init__(self, sandbox: Sandbox, *, keys: int = 1) -> None:
        settings = sandbox.judiciary()
        self.keys = verifying_keys(settings.signing_certificates)
        self.keyring = HmacKeyring({f"k{number}": bytes([number]) * 32 for number in range(1, keys + 1)})
        self.store = Store(settings.store, ledger=AccessMode.WRITE)
        signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
        self.recorder = InquiryRecorder(
            store=self.store,
            ledger=LedgerWriter(keyring=self.keyring, signer=signer, clock=Clock()),
            keyring=self.keyring,
            lookups={method.name: lookup for method, lookup in LOOKUPS.items()},
            max_staleness=timedelta(days=36500),
            clock=Clock(),
            last_sealed=to_datetime(0),
        )

    def ask(self) -> Answer:
        request = pb.CheckByNationalIdRequest(national_id=PERSON)
        inquiry = Inquiry(uuid_utils.uuid7(), CHECK_BY_NATIONAL_ID, CALLER, 0.0, request=request)
        (answer,) = self.recorder.answer_batch([inquiry])
        assert isinstance(answer, Answer)
        return answer

    def chain(self) -> list[str]:
        """Every entry, verified: an outcome, or the load that it notes."""
        with self.store.transaction() as connection:
            assert list(verify.verify_ledger(connection, self.keys))
            noted = {note.entry: f"load {note.load}" for note in loads.notes(connection)}
            entries = search.entries_since(connection, 0)
            return [noted.get(e.sequence) or inquiry_pb2.Outcome.Name(e.outcome)[8:] for e in entries]


@pytest.fixture
def workers(sandbox: Sandbox) -> Iterator[tuple[Worker, Worker]]:
    """Two workers, which share one process: on SQLite only the first one may answer."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    first, second = Worker(sandbox), Worker(sandbox)
    with closing(first.store), closing(second.store):
        yield first, second


def late(folder: Path, number: int) -> Path:
    """A file with one more case."""
    path = folder / f"{number}.csv"
    case = {
        "case_number": f"9{number}",
        "kind": "CIVIL",
        "filed_on": "2026-03-01",
        "registered_at": "2026-05-20T10:00:00+03:30",
        "national_id": "9990000050",
        "role": "DRAWER",
    }
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, CASES.columns)
        writer.writeheader()
        writer.writerow(case)
    return path


def test_each_load_is_noted_before_its_answers(
    workers: tuple[Worker, Worker], sandbox: Sandbox, tmp_path: Path
) -> None:
    """A load is noted once, before every answer that is from it and after every other."""
    worker, _ = workers
    worker.ask()
    for number in (1, 2):
        load_file(sandbox.judiciary(), CASES, late(tmp_path, number), parties=Parties.REPLACED)
    reply = pb.CheckByNationalIdResponse.FromString(worker.ask().reply)
    worker.ask()

    assert ["load 1", "NO", "load 2", "load 3", "NO", "NO"] == worker.chain()
    assert receipt.verify(
        CHECK_BY_NATIONAL_ID.name, pb.CheckByNationalIdRequest(national_id=PERSON), reply, worker.keys
    )


def test_workers_note_a_load_once(workers: tuple[Worker, Worker], sandbox: Sandbox, tmp_path: Path) -> None:
    """Of several workers, the first that sees a load notes it, with or without an inquiry."""
    first, second = workers
    first.recorder.note_loads()
    second.recorder.note_loads()
    second.ask()
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 1), parties=Parties.REPLACED)
    second.ask()
    first.recorder.note_loads()
    first.ask()

    assert ["load 1", "NO", "load 2", "NO", "NO"] == first.chain()


def test_note_states_the_load(workers: tuple[Worker, Worker]) -> None:
    """A note holds the load's feed, number in it and counts, and the coverage after it."""
    workers[0].ask()
    with workers[0].store.transaction() as connection:
        (note,) = loads.notes(connection)

    assert (1, "cases", 1) == (note.load, note.facts["feed"], note.facts["feed_number"])
    assert {"rows", "whole", "coverage"} <= set(note.facts)


def test_restored_facts_are_noted(workers: tuple[Worker, Worker], sandbox: Sandbox, tmp_path: Path) -> None:
    """Where facts are restored from a backup, the older load is noted again before the next answer."""
    worker, _ = workers
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 1), parties=Parties.REPLACED)
    worker.ask()
    with closing(Store(sandbox.judiciary().store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        connection.execute(delete(load_table).where(load_table.c.number == 2))
    worker.ask()

    assert ["load 1", "load 2", "NO", "load 1", "NO"] == worker.chain()


@pytest.mark.parametrize("used", [1, 2])
def test_missing_key_is_refused(sandbox: Sandbox, used: int) -> None:
    """A report about a person is refused while any key that wrote an entry is missing, however few it wrote."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    for keys in (1, 3, *([2] if used == 2 else []), 3):
        with closing((worker := Worker(sandbox, keys=keys)).store):
            worker.ask()
    incomplete = HmacKeyring({name: bytes([int(name[1])]) * 32 for name in ("k1", "k3") if used == 2 or name != "k1"})
    with closing(worker.store), worker.store.transaction() as connection:
        assert len(search.entries_about(connection, worker.keyring, person_subject(PERSON))) == 2 + used
        with pytest.raises(UserFacingError, match=rf"the keyring lacks k{used}:"):
            search.entries_about(connection, incomplete, person_subject(PERSON))
