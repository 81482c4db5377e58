"""Notes of facts on every database: the chain says which data each answer is from, and when recall was run."""

import csv
import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Connection, delete, text
from structlog.testing import capture_logs

from development.files import SAMPLES
from development.sandbox import Sandbox, load_file
from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.exceptions import UserFacingError
from estelam.core.keys import HmacKeyring, SigningKey, new_keyring_line, verifying_keys
from estelam.core.model import Answer, Caller, Inquiry, person_subject
from estelam.core.parties import Parties
from estelam.inquiry.v1 import inquiry_pb2
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as pb
from estelam.ledger import key_use, loads, recall_runs, search, verify
from estelam.ledger.tables import annulments
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.recorder import InquiryRecorder
from estelam.receipts import receipt
from estelam.storage import sqlite
from estelam.storage.facts import load_table, recall_run_table
from estelam.storage.store import AccessMode, Store, StoreError
from judiciary.feeds import CASES
from judiciary.methods import CHECK_BY_NATIONAL_ID, LOOKUPS
from judiciary.repository import case_table
from tests.conftest import both_engines_in_full
from tests.e2e.conftest import CommandLine, CommandResult

pytestmark = both_engines_in_full

CALLER = Caller("99001187852")
PERSON = "9990000042"


class Worker:
    """One of any number of processes that answer from one store."""

    def __init__(self, sandbox: Sandbox, *, keyring: HmacKeyring | None = None) -> None:
        self.settings = sandbox.judiciary()
        self.keys = verifying_keys(self.settings.signing_certificates)
        self.keyring = keyring or HmacKeyring.load(self.settings.hmac_keyring)
        self.store = Store(self.settings.store, ledger=AccessMode.WRITE)
        self.recorder = self.started()

    def started(self) -> InquiryRecorder:
        """The recorder as it is after a start."""
        settings = self.settings
        signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
        return InquiryRecorder(
            store=self.store,
            ledger=LedgerWriter(settings.SECTION, keyring=self.keyring, signer=signer, clock=Clock()),
            keyring=self.keyring,
            lookups={method.name: lookup for method, lookup in LOOKUPS.items()},
            feeds=settings.feeds,
            max_staleness=timedelta(days=36500),
            clock=Clock(),
            last_sealed=to_datetime(0),
        )

    def attempt(self) -> Answer | Refusal:
        request = pb.CheckByNationalIdRequest(national_id=PERSON)
        inquiry = Inquiry(uuid_utils.uuid7(), CHECK_BY_NATIONAL_ID, CALLER, 0.0, request=request)
        (answer,) = self.recorder.answer_batch([inquiry])
        return answer

    def ask(self) -> Answer:
        answer = self.attempt()
        assert isinstance(answer, Answer)
        return answer

    def chain(self) -> list[str]:
        """Every entry, verified: an outcome, or what it notes."""
        with self.store.transaction() as connection:
            assert list(verify.verify_ledger(connection, self.keys))
            noted = {note.index: f"load {note.load}" for note in loads.notes(connection, iter)}
            noted |= {note.index: "recall" for note in recall_runs.notes(connection, iter)}
            stored = search.entries_since(connection, 0)
            return [noted.get(each.index) or inquiry_pb2.Outcome.Name(each.entry.outcome)[8:] for each in stored]


@pytest.fixture
def workers(sandbox: Sandbox) -> Iterator[tuple[Worker, Worker]]:
    """Two workers, which share one process: on SQLite only the first one may answer."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    first, second = Worker(sandbox), Worker(sandbox)
    with closing(first.store), closing(second.store):
        yield first, second


def late(folder: Path, number: int, person: str = "9990000050") -> Path:
    """A file with one more case."""
    path = folder / f"{number}.csv"
    case = {
        "case_number": f"9{number}",
        "kind": "CIVIL",
        "filed_on": "2026-03-01",
        "registered_at": "2026-05-20T10:00:00+03:30",
        "national_id": person,
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
    with capture_logs() as events:
        first.recorder.note_facts()
        second.recorder.note_facts()
    second.ask()
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 1), parties=Parties.REPLACED)
    second.ask()
    first.recorder.note_facts()
    first.ask()

    assert ["load 1", "NO", "load 2", "NO", "NO"] == first.chain()
    assert ["facts.noted"] == [event["event"] for event in events]


def test_note_states_the_load(workers: tuple[Worker, Worker]) -> None:
    """A note holds the load's feed, number in it and counts, and the coverage after it."""
    workers[0].ask()
    with workers[0].store.transaction() as connection:
        (note,) = loads.notes(connection, iter)

    assert (1, "cases", 1) == (note.load, note.facts["feed"], note.facts["feed_number"])
    assert {"rows", "whole", "coverage"} <= set(note.facts)


def forget_loads(sandbox: Sandbox, after: int) -> None:
    """Put the facts back to what they were when load *after* was the newest."""
    with closing(Store(sandbox.judiciary().store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        connection.execute(delete(load_table).where(load_table.c.number > after))
        connection.execute(delete(case_table).where(case_table.c.load_number > after))


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("answer", ["NO", "YES"])
def test_restored_facts_answer_nothing(
    workers: tuple[Worker, Worker],
    sandbox: Sandbox,
    tmp_path: Path,
    answer: str,
    restarted: bool,  # noqa: FBT001
) -> None:
    """Facts put back to an earlier day give no answer, before or after a start, until all missing files are loaded."""
    worker, _ = workers
    files = [late(tmp_path, number, PERSON if answer == "YES" else "9990000050") for number in (1, 2)]
    for file in files:
        load_file(sandbox.judiciary(), CASES, file, parties=Parties.REPLACED)
    worker.ask()
    forget_loads(sandbox, 1)
    if restarted:
        worker.recorder = worker.started()
    with capture_logs() as events:
        refusals = [worker.attempt()]
        worker.recorder.note_facts()
        for file in files:
            refusals.append(worker.attempt())
            load_file(sandbox.judiciary(), CASES, file, parties=Parties.REPLACED)
        worker.recorder.note_facts()
    worker.ask()

    assert [Reason.DATA_STALE] * 3 == [refusal.reason for refusal in refusals if isinstance(refusal, Refusal)]
    assert ["load 1", "load 2", "load 3", answer, *["REFUSED"] * 3, answer] == worker.chain()
    assert ["facts.outdated", "facts.complete"] == [event["event"] for event in events]
    assert "cases from number 2" in events[0]["error"]


def test_later_whole_file_completes_restored_facts(
    workers: tuple[Worker, Worker], sandbox: Sandbox, tmp_path: Path
) -> None:
    """A whole file that was cut later has all that the missing ones had; changes that were cut later have not."""
    worker, _ = workers
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 1), parties=Parties.REPLACED)
    worker.ask()
    forget_loads(sandbox, 1)
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 2), parties=Parties.REPLACED)
    changes = worker.attempt()
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 3), whole=True)
    worker.ask()
    worker.ask()

    assert isinstance(changes, Refusal)
    assert ["load 1", "load 2", "NO", "REFUSED", "load 2", "load 3", "NO", "NO"] == worker.chain()


@pytest.mark.parametrize("restarted", [False, True])
def test_rebuilt_facts_are_noted(
    workers: tuple[Worker, Worker],
    sandbox: Sandbox,
    tmp_path: Path,
    restarted: bool,  # noqa: FBT001
) -> None:
    """Where a newer whole file gets the number of a noted load, it is noted before the next answer, and those after."""
    worker, _ = workers
    for number in (1, 2):
        load_file(sandbox.judiciary(), CASES, late(tmp_path, number), parties=Parties.REPLACED)
    worker.ask()
    forget_loads(sandbox, 1)
    for number in (3, 4):
        file = late(tmp_path, number, PERSON)
        load_file(sandbox.judiciary(), CASES, file, whole=number == 3, parties=Parties.REPLACED)
    before = recall(sandbox, "--json").json
    with closing((other := Worker(sandbox)).store):
        (other if restarted else worker).recorder.note_facts()
    worker.ask()
    hashes = {
        str(number): hashlib.sha256((tmp_path / f"{number}.csv").read_bytes()).hexdigest() for number in (1, 2, 3, 4)
    }
    with worker.store.transaction() as connection:
        noted = [note.facts["sha256"] for note in loads.notes(connection, iter)]

    assert ["load 1", "load 2", "load 3", "NO", "load 2", "load 3", "recall", "YES"] == worker.chain()
    assert [hashes[number] for number in ("1", "2", "3", "4")] == noted[1:]
    assert [("NO", "YES", 3)] == [(row["then"], row["now"], row["index"]) for row in before]


@pytest.mark.parametrize("faults", [["lost", "down"], ["lost", "down", "down"], ["lost", "down", "down", "lost"]])
def test_answer_of_a_lost_commit_is_annulled(
    workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch, faults: list[str]
) -> None:
    """What a commit of unknown outcome wrote is annulled once before the next answer, however many batches fail."""
    worker, _ = workers
    worker.recorder.note_facts()
    plan = iter(faults)

    def faulty(transaction: Callable[[Store], AbstractContextManager[Connection]]) -> Any:
        @contextmanager
        def run(store: Store) -> Iterator[Connection]:
            fault = next(plan, None)
            if fault == "down":
                raise StoreError("down")
            with transaction(store) as connection:
                yield connection
            if fault == "lost":
                raise StoreError("the connection was lost in COMMIT")

        return run

    with monkeypatch.context() as patched:
        patched.setattr(Store, "transaction", faulty(Store.transaction))
        patched.setattr(Store, "append", faulty(Store.append))
        while (refused := worker.attempt()) and isinstance(refused, Refusal):
            assert Reason.STORE_UNAVAILABLE == refused.reason
    with worker.store.transaction() as connection:
        stored = search.entries_since(connection, 0)
        answered = {each.index for each in stored if each.entry.outcome == inquiry_pb2.OUTCOME_NO}
        annulled = annulments(connection)

    assert 2 == len(answered)
    assert [min(answered)] == [*annulled]
    assert worker.chain()


def test_lasting_failure_is_logged_once(workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the store that lasts is one line of each event, not one for each inquiry; another one is logged."""
    worker, _ = workers

    def attempt_with(problem: str) -> None:
        def fail(_store: Store) -> Any:
            raise StoreError(problem)

        monkeypatch.setattr(Store, "transaction", fail)
        monkeypatch.setattr(Store, "append", fail)
        worker.attempt()

    with capture_logs() as events:
        for problem in ("removed", "removed", "removed", "replaced"):
            attempt_with(problem)

    assert ["batch.failed", "failure.unrecorded"] * 2 == [event["event"] for event in events]
    assert [("removed", 0)] * 2 + [("replaced", 2)] * 2 == [(event["problem"], event["unlogged"]) for event in events]


def recall(sandbox: Sandbox, *more: str | Path, since: str = "1") -> CommandResult:
    return CommandLine(sandbox)("judiciary", "recall", "--since", since, "--settle", "0", *more)


@pytest.fixture
def recalled(workers: tuple[Worker, Worker], sandbox: Sandbox, tmp_path: Path) -> Worker:
    """A worker that answered NO about a person, of whom a case was loaded later."""
    worker, _ = workers
    worker.ask()
    load_file(sandbox.judiciary(), CASES, late(tmp_path, 1, PERSON), parties=Parties.REPLACED)
    return worker


def test_each_recall_is_noted_once(recalled: Worker, workers: tuple[Worker, Worker], sandbox: Sandbox) -> None:
    """Each run of recall is noted once, by whichever worker sees it first, also after a restart."""
    for since in ("1", "2"):
        assert 0 == recall(sandbox, since=since).code
    for worker in workers:
        worker.recorder.ping()
    with closing((restarted := Worker(sandbox)).store):
        restarted.recorder.note_facts()
        restarted.ask()
    noted = CommandLine(sandbox)("ledger", "recalls", "judiciary", "--json").json

    assert ["load 1", "NO", "load 2", "recall", "recall", "YES"] == recalled.chain()
    assert [(1, 2, 1, 3), (2, 2, 0, 4)] == [
        (row["after_load"], row["newest_load"], row["answers"], row["index"]) for row in noted
    ]
    assert all(row["run_at"] <= row["noted_at"] for row in noted)


def test_recall_after_restored_facts_is_noted(recalled: Worker, sandbox: Sandbox, tmp_path: Path) -> None:
    """Restored facts are searched when the missing files are loaded: noted runs stay noted, and the next one is too."""
    for _ in range(2):
        recall(sandbox)
        recalled.recorder.note_facts()
    with closing(Store(sandbox.judiciary().store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        _, (lost, *_) = connection.execute(recall_run_table.select().order_by("run_at_micros"))
        connection.execute(delete(recall_run_table).where(recall_run_table.c.run_at_micros == lost))
    forget_loads(sandbox, 1)
    refused = recall(sandbox, since="0")
    load_file(sandbox.judiciary(), CASES, tmp_path / "1.csv", parties=Parties.REPLACED)
    recall(sandbox, since="0")
    recalled.recorder.note_facts()

    assert (21, "") == (refused.code, refused.out)
    assert "load the missing files again (cases from number 2)" in refused.err
    assert ["load 1", "NO", "load 2", "recall", "recall", "recall"] == recalled.chain()


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_unstored_recall_lists_nothing(recalled: Worker, sandbox: Sandbox, tmp_path: Path, form: str) -> None:
    """A run of recall that can't be stored prints and writes nothing, and says why."""
    old = Store(sandbox.judiciary().store, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
    with closing(old), old.transaction() as connection:
        connection.execute(text("DROP TABLE facts.recall_run"))
    folder = tmp_path / "lists"
    for result in (recall(sandbox, "--format", form), recall(sandbox, "--format", form, "--out", folder)):
        assert (result.code, result.out) == (21, "")
        assert "the run of recall can't be stored, so nothing is listed" in result.err
    assert not folder.exists()
    assert ["load 1", "NO"] == recalled.chain()


def test_recall_during_a_load(recalled: Worker, sandbox: Sandbox, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run beside a load is stored where the engine permits it; else nothing is listed."""
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT_SECONDS", 0.1)
    with closing(Store(sandbox.judiciary().store, facts=AccessMode.WRITE)) as loader, loader.transaction():
        result = recall(sandbox)

    assert (21 if engine == "sqlite" else 0) == result.code
    assert ("no load is running" in result.err) == (engine == "sqlite") == (result.out == "")
    assert 2 == len(recalled.chain())


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM ledger.fact_note WHERE kind = 'recall'",
        "UPDATE ledger.fact_note SET number = number + 1 WHERE kind = 'recall'",
        "UPDATE ledger.fact_note SET kind = 'load' WHERE kind = 'recall'",
    ],
)
def test_damaged_note_of_a_recall_is_detected(recalled: Worker, sandbox: Sandbox, damage: str) -> None:
    """Verification detects that the note of a run of recall was removed or changed."""
    recall(sandbox)
    recalled.recorder.note_facts()
    with recalled.store.transaction() as connection:
        connection.execute(text(damage))
    result = CommandLine(sandbox)("ledger", "verify", "judiciary")

    assert 1 == result.code
    assert "the table fact_note does not match the entries" in result.err


def invented(*numbers: int, wrong: int = 0) -> HmacKeyring:
    """The keys k1, k2 and so on of *numbers*, with another key in the place of number *wrong*."""
    return HmacKeyring({f"k{number}": bytes([number + (number == wrong) * 100]) * 32 for number in numbers})


@pytest.mark.parametrize("used", [1, 2])
def test_missing_key_is_refused(sandbox: Sandbox, used: int) -> None:
    """A report about a person is refused while any key that wrote an entry is missing, however few it wrote."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    for keys in ([1], [1, 2, 3], *([[1, 2]] if used == 2 else []), [1, 2, 3]):
        with closing((worker := Worker(sandbox, keyring=invented(*keys))).store):
            worker.ask()
    incomplete = invented(*((1, 3) if used == 2 else (3,)))
    with closing(worker.store), worker.store.transaction() as connection:
        assert len(search.entries_about(connection, worker.keyring, person_subject(PERSON))) == 2 + used
        with pytest.raises(UserFacingError, match=rf"the keyring lacks k{used}:"):
            search.entries_about(connection, incomplete, person_subject(PERSON))


@pytest.mark.parametrize("wrong", [1, 2])
def test_wrong_key_is_refused(sandbox: Sandbox, wrong: int) -> None:
    """A report about a person is refused while any key is not the one that wrote entries under its id."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    for keys in ([1], [1, 2]):
        with closing((worker := Worker(sandbox, keyring=invented(*keys))).store):
            worker.ask()
    refused = pytest.raises(UserFacingError, match=rf"the keyring holds another key as k{wrong} than")
    with closing(worker.store), worker.store.transaction() as connection, refused:
        search.entries_about(connection, invented(1, 2, wrong=wrong), person_subject(PERSON))


def test_two_new_keys_of_one_id(workers: tuple[Worker, Worker], sandbox: Sandbox) -> None:
    """Of two workers that were started with different new keys under one id, only one answers."""
    with closing((wrong := Worker(sandbox, keyring=HmacKeyring({"k1": bytes(32)}))).store):
        with workers[0].store.transaction() as connection:
            key_use.require_same_keys(connection, wrong.keyring)
        workers[0].ask()
        refusal = wrong.attempt()

    assert workers[0].keyring.current == "k1"
    assert isinstance(refusal, Refusal)
    assert Reason.STORE_UNAVAILABLE == refusal.reason
    assert 2 == len(workers[0].chain())  # the load and the first worker's answer


@pytest.mark.parametrize(
    "command", [("ledger", "subject-report", "judiciary", PERSON), ("judiciary", "recall", "--since", "0")]
)
def test_wrong_keyring_file(workers: tuple[Worker, Worker], sandbox: Sandbox, command: tuple[str, ...]) -> None:
    """With another key in the keyring under the same id no command says that nothing was found."""
    workers[0].ask()
    sandbox.judiciary().hmac_keyring.write_text(new_keyring_line(workers[0].keyring.current), "ascii")
    result = CommandLine(sandbox)(*command)

    assert (21, "") == (result.code, result.out)
    assert "the keyring holds another key as k1 than the ledger was written with" in result.err
