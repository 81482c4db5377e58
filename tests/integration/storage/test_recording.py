"""Recording on every database: what a look-up before the append lock must not miss, and what expires."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, delete, func, insert, select, text, update

from development import sandbox as suite
from development.files import SAMPLES
from development.sandbox import Sandbox, load_file
from estelam.core.clock import CLOCK_TOLERANCE, Clock, to_datetime
from estelam.core.errors import Reason, Refusal
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Answer, Inquiry, LookupResult, Outcome
from estelam.core.parties import Parties
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_NO, ANSWER_YES
from estelam.judiciary.v1 import cheque_case_inquiry_pb2 as cases
from estelam.ledger import confirmations, kept, search, verify
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import checkpoint_table, confirmation_table, entry_table, last_checkpoint
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.pipeline.recorder import InquiryRecorder, LookupContext
from estelam.promissory.v1 import note_inquiry_pb2 as notes
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.server.checkpoint_keeper import keep_checkpoints
from estelam.storage import postgresql
from estelam.storage.store import AccessMode, Store, StoreError
from judiciary.feeds import CASES
from promissory.methods import CHECK_NOTE, GET_NOTE_PARTIES, lookups
from tests.conftest import both_engines_in_full
from tests.integration.storage.test_fact_notes import CALLER, PERSON, Worker, late

on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True, scope="session")

NOTE = notes.CheckNoteRequest(
    serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=2_500_000_000
)
PARTIES = notes.GetNotePartiesRequest(serial=NOTE.serial, executive_agency_id="SETAD-0001")


class NoteWorker:
    """A worker that answers inquiries about notes."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.settings = settings = sandbox.promissory()
        self.micros = Clock().micros()
        self.clock = Clock(micros=lambda: self.micros)
        self.store = Store(settings.store, ledger=AccessMode.WRITE)
        self.signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
        keyring = HmacKeyring.load(settings.hmac_keyring)
        self.ledger = LedgerWriter(settings.SECTION, keyring=keyring, signer=self.signer, clock=self.clock)
        self.recorder = InquiryRecorder(
            store=self.store,
            ledger=self.ledger,
            keyring=keyring,
            lookups={method.name: lookup for method, lookup in lookups(settings).items()},
            feeds=settings.feeds,
            max_staleness=timedelta(days=36500),
            clock=self.clock,
            last_sealed=to_datetime(0),
        )

    def ask(self, *requests: Any) -> list[str]:
        """The outcome of each inquiry, all in one batch."""
        answers = self.recorder.answer_batch([inquiry(request) for request in requests])
        return [answer.outcome if isinstance(answer, Answer) else answer.reason for answer in answers]

    def annul(self, index: int) -> None:
        draft = EntryDraft(inquiry(NOTE), Reason.STORE_UNAVAILABLE, annuls=index)
        with self.store.transaction() as connection:
            self.ledger.append_at_once(connection, [draft])

    def confirmed(self) -> list[int]:
        """The entries that have a confirmation; the ledger is verified."""
        with self.store.transaction() as connection:
            assert list(verify.verify_ledger(connection, self.signer.known_keys))
            return list(connection.execute(select(confirmation_table.c["index"])).scalars())


def inquiry(request: Any) -> Inquiry:
    method = CHECK_NOTE if isinstance(request, notes.CheckNoteRequest) else GET_NOTE_PARTIES
    return Inquiry(uuid_utils.uuid7(), method, CALLER, 0.0, request=request)


@pytest.fixture
def workers(sandbox: Sandbox) -> Iterator[tuple[NoteWorker, NoteWorker]]:
    """Two workers, which share one process: on SQLite only the first one may answer."""
    suite.load_samples(sandbox)
    first, second = NoteWorker(sandbox), NoteWorker(sandbox)
    with closing(first.store), closing(second.store):
        first.recorder.note_facts()
        yield first, second


@contextmanager
def before_the_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, between the look-ups of the next batch and its append lock."""
    lock, plan = Store.lock, iter([happens])

    def late_lock(store: Store, connection: Connection) -> None:
        next(plan, lambda: None)()
        lock(store, connection)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "lock", late_lock)
        yield


@both_engines_in_full
def test_load_during_the_lookups(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An answer is from exactly the loads noted before it, also if one is committed after its look-up."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)

    def load() -> None:
        load_file(sandbox.judiciary(), CASES, late(tmp_path, 1, PERSON), parties=Parties.REPLACED)

    with closing((worker := Worker(sandbox)).store):
        worker.ask()
        with before_the_lock(monkeypatch, load):
            reply = cases.CheckByNationalIdResponse.FromString(worker.ask().reply)
        worker.ask()

        # SQLite fixes the snapshot of the facts when the transaction begins, so the load comes after the answer.
        expected = ["load 2", "YES"] if "postgresql" in sandbox.judiciary().store else ["NO", "load 2"]
        assert ["load 1", "NO", *expected, "YES"] == worker.chain()
        assert (ANSWER_YES if expected[-1] == "YES" else ANSWER_NO) == reply.answer


@on_postgresql
def test_annulment_during_the_lookups(workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A YES that another worker annuls after the look-up permits no disclosure."""
    first, second = workers
    assert [Outcome.YES] == first.ask(NOTE)
    (index,) = first.confirmed()
    assert [Outcome.DISCLOSED] == second.ask(PARTIES)
    with before_the_lock(monkeypatch, lambda: first.annul(index)):
        assert [Reason.NOTE_NOT_CONFIRMED] == second.ask(PARTIES)

    assert [] == first.confirmed()


@both_engines_in_full
def test_confirmation_put_back_after_its_annulment(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """A row that is inserted again for an annulled YES permits no disclosure; an annulment deletes no other row."""
    worker, _ = workers
    assert [Outcome.YES] * 2 == worker.ask(NOTE, NOTE)
    first, second = worker.confirmed()
    with worker.store.transaction() as connection:
        row = connection.execute(select(confirmation_table).where(confirmation_table.c["index"] == first)).one()
    worker.annul(first)
    assert [second] == worker.confirmed()
    assert [Outcome.DISCLOSED] == worker.ask(PARTIES)
    worker.annul(second)
    with worker.store.transaction() as connection:
        connection.execute(insert(confirmation_table).values(tuple(row)))

    assert [Reason.NOTE_NOT_CONFIRMED] == worker.ask(PARTIES)


@on_postgresql
def test_annulment_of_an_older_answer_during_the_lookups(
    workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An annulment is seen whichever entry it annuls: also where an entry after that one was annulled before."""
    first, second = workers
    assert [Outcome.YES] * 2 == first.ask(NOTE, NOTE)
    older, newer = first.confirmed()
    first.annul(newer)
    with before_the_lock(monkeypatch, lambda: first.annul(older)):
        assert [Reason.NOTE_NOT_CONFIRMED] == second.ask(PARTIES)


@on_postgresql
def test_loads_during_repeated_lookups(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look-ups are repeated until no load came in between, however many do."""
    load_file(sandbox.judiciary(), CASES, SAMPLES / "cases.csv", whole=True)
    loads = [late(tmp_path, 1), late(tmp_path, 2, PERSON)]

    def load() -> None:
        load_file(sandbox.judiciary(), CASES, loads.pop(0), parties=Parties.REPLACED)

    with closing((worker := Worker(sandbox)).store):
        worker.ask()
        prepare, plan = worker.recorder._prepare, iter([lambda: None, load])

        def slow(*arguments: Any) -> Any:
            prepared = prepare(*arguments)
            next(plan, lambda: None)()
            return prepared

        monkeypatch.setattr(worker.recorder, "_prepare", slow)
        with before_the_lock(monkeypatch, load):
            worker.ask()

        assert ["load 1", "NO", "load 2", "load 3", "YES"] == worker.chain()


@both_engines_in_full
def test_changed_rows_confirm_nothing(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """Neither a row with a later time than its entry's, nor search keys that the entry does not commit to, confirm."""
    worker, _ = workers
    worker.ask(NOTE, NOTE)
    first, second = worker.confirmed()
    keys = select(entry_table.c.search_keys).where(entry_table.c["index"] == second)
    with worker.store.transaction() as connection:
        connection.execute(delete(confirmation_table).where(confirmation_table.c["index"] == second))
        others = connection.execute(keys).scalar_one()
        connection.execute(update(entry_table).where(entry_table.c["index"] == first).values(search_keys=others))
    assert [Reason.NOTE_NOT_CONFIRMED] == worker.ask(PARTIES)

    assert [Outcome.YES] == worker.ask(NOTE)
    worker.micros += confirmations.KEPT_MICROS
    with worker.store.transaction() as connection:
        connection.execute(update(confirmation_table).values(confirmed_at_micros=worker.micros))
    assert [Reason.NOTE_NOT_CONFIRMED] == worker.ask(PARTIES)


@both_engines_in_full
def test_proven_commits_are_bounded(workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many commits were proven, only the last few stay in memory."""
    monkeypatch.setattr(confirmations, "KEPT_COMMITS", 2)
    worker, _ = workers
    for _ in range(4):
        assert [Outcome.YES, Outcome.DISCLOSED] == [*worker.ask(NOTE), *worker.ask(PARTIES)]

    assert len(worker.recorder._commits._hashes) <= 2


@both_engines_in_full
def test_note_of_another_ledger(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """A checkpoint of another ledger proves nothing, though the same key signed it."""
    worker, _ = workers
    other = Checkpoint("estelam/judiciary/14000000001", 0, bytes(32))
    with pytest.raises(InvalidReceipt, match="ledger"):
        worker.ledger.verify(checkpoint.sign(other, worker.signer, worker.micros))


@both_engines_in_full
def test_failed_batch_keeps_earlier_refusals(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """In a batch that fails, an inquiry that was refused before is recorded with its own reason."""
    worker, _ = workers

    def failing(_context: LookupContext, _inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
        raise OSError("the disk failed")

    worker.recorder._lookups = {CHECK_NOTE.name: failing}
    refused = replace(inquiry(NOTE), refusal=Refusal(Reason.NOT_GRANTED))
    worker.recorder.answer_batch([inquiry(NOTE), refused])
    with worker.store.transaction() as connection:
        *_, failed, own = search.entries_between(connection, 0, None)

    assert ["STORE_UNAVAILABLE", "NOT_GRANTED"] == [failed.entry.refusal, own.entry.refusal]


@both_engines_in_full
def test_health_check_annuls(workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a commit of unknown outcome wrote is annulled by the next health check, where no inquiry comes before."""
    worker, _ = workers

    def fail(*_: object, **_named: object) -> None:
        raise OSError("the connection was lost")

    with monkeypatch.context() as patched:
        patched.setattr(worker.ledger, "keep_committed", fail)
        patched.setattr(worker.ledger, "append_at_once", fail)
        assert [Reason.STORE_UNAVAILABLE] == worker.ask(NOTE)
    assert 1 == len(worker.confirmed())
    worker.recorder.ping()

    assert [] == worker.confirmed()


@pytest.mark.parametrize(("ahead", "is_behind"), [(timedelta(0), False), (timedelta(seconds=1), True)])
def test_tolerance_of_clocks(workers: tuple[NoteWorker, NoteWorker], ahead: timedelta, *, is_behind: bool) -> None:
    """A clock may be behind the last checkpoint by the tolerance; beyond it no answer is NO."""
    worker, _ = workers
    now = worker.clock.now()
    with worker.store.transaction() as connection:
        keyring = HmacKeyring.load(worker.settings.hmac_keyring)
        commits, sealed = confirmations.ProvenCommits(worker.ledger.verify), now + CLOCK_TOLERANCE + ahead
        context = LookupContext(connection, lambda: None, keyring, now, timedelta(1), sealed, commits)

        assert is_behind == context.clock_is_behind


@on_postgresql
def test_lock_is_not_held_during_the_lookups(
    workers: tuple[NoteWorker, NoteWorker], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a worker looks up, another one records; one that gets no lock refuses, and answers afterwards."""
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_SECONDS", 0.2)
    first, second = workers
    with before_the_lock(monkeypatch, lambda: second.ask(NOTE)):
        assert [Outcome.YES] == first.ask(NOTE)
    with first.store.transaction(), closing((impatient := NoteWorker(sandbox)).store):
        assert [Reason.STORE_UNAVAILABLE] == impatient.ask(NOTE)

    assert [Outcome.YES] == first.ask(NOTE)
    assert 3 == len(first.confirmed())


@both_engines_in_full
def test_confirmations_expire(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """A confirmation that no window can reach is deleted by a later commit, and the ledger stays valid."""
    worker, _ = workers
    worker.ask(NOTE, NOTE)
    worker.micros += confirmations.KEPT_MICROS
    worker.ask(NOTE)
    assert 3 == len(worker.confirmed())
    worker.micros += 1
    worker.ask(NOTE)
    assert 2 == len(worker.confirmed())
    worker.micros += 2 * confirmations.KEPT_MICROS

    assert [Reason.NOTE_NOT_CONFIRMED] == worker.ask(PARTIES)
    assert [] == worker.confirmed()


@both_engines_in_full
def test_confirmations_expire_after_a_clock_was_ahead(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """Answers of a clock that was ahead keep no other confirmation, and verification misses each that is gone."""
    worker, _ = workers
    worker.ask(NOTE)
    real, worker.micros = worker.micros, worker.micros + 400 * 86_400 * 10**6
    worker.ask(*[NOTE] * 40)
    worker.micros = real
    left = []
    for _ in range(4):
        worker.micros += 2 * confirmations.KEPT_MICROS
        worker.ask(*[NOTE] * 8)
        left.append(len(worker.confirmed()))
    assert [48] * 3 == left[1:]

    with worker.store.transaction() as connection:
        newest = select(func.max(confirmation_table.c["index"])).scalar_subquery()
        connection.execute(delete(confirmation_table).where(confirmation_table.c["index"] == newest))
    with pytest.raises(LedgerCorruptError):
        worker.confirmed()


@both_engines_in_full
def test_clock_jumps_while_a_commit_is_made(
    workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that jumps between the look-up and the commit takes no confirmation away."""
    worker, _ = workers
    worker.ask(NOTE)
    real = worker.micros

    def jump() -> None:
        worker.micros += 3 * confirmations.KEPT_MICROS

    with before_the_lock(monkeypatch, jump):
        worker.ask(NOTE)
    worker.micros = real + 1

    assert [Outcome.DISCLOSED] == worker.ask(PARTIES)
    assert 2 == len(worker.confirmed())


@on_postgresql
def test_time_of_a_worker_that_waited(workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry has the time of its look-up, also where another worker commits a later one first: verified as it is."""
    first, second = workers
    second.micros = first.micros + 5_000_000
    with before_the_lock(monkeypatch, lambda: second.ask(NOTE)):
        assert [Outcome.YES] == first.ask(NOTE)

    assert 2 == len(first.confirmed())
    with first.store.transaction() as connection:
        micros = connection.scalars(select(confirmation_table.c.confirmed_at_micros).order_by(text("1")))
        by_index = connection.scalars(
            select(checkpoint_table.c.signed_at_micros).order_by(checkpoint_table.c.size.desc()).limit(2)
        )
        assert ([first.micros, second.micros], [first.micros, second.micros]) == (list(micros), list(by_index))


@both_engines_in_full
def test_confirmations_expire_in_steps(workers: tuple[NoteWorker, NoteWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many have expired, a commit deletes only a few more confirmations than it may add."""
    monkeypatch.setattr("estelam.ledger.writer._EXPIRED_AT_ONCE", 1)
    worker, _ = workers
    worker.ask(*[NOTE] * 8)
    worker.micros += 2 * confirmations.KEPT_MICROS
    left = []
    for _ in range(3):
        worker.ask(PARTIES)
        left.append(len(worker.confirmed()))

    assert [5, 2, 0] == left


@on_postgresql
@pytest.mark.parametrize("knows", ["own answers", "the start", "the file"])
def test_database_restored_under_a_worker(
    workers: tuple[NoteWorker, NoteWorker], tmp_path: Path, knows: str, sandbox: Sandbox
) -> None:
    """A worker appends to no ledger that lacks what it answered, what it started with, or what the file has."""
    other, worker = workers
    path, stopping = tmp_path / "kept", threading.Event()
    stopping.set()
    other.ask(NOTE)
    with other.store.transaction() as connection:
        size = search.size(connection)
    other.ask(NOTE, NOTE)
    if knows == "own answers":
        assert [Outcome.YES] == worker.ask(NOTE)
    with other.store.transaction() as connection:
        newest = last_checkpoint(connection)
        assert newest
        if knows == "the start":
            worker.ledger.keep_committed(search.size(connection), newest)
    kept.keep(path, newest)
    with other.store.transaction() as connection:  # restored to an earlier point, and continued by an older worker
        for table in (entry_table, confirmation_table):
            connection.execute(delete(table).where(table.c["index"] >= size))
        connection.execute(delete(checkpoint_table).where(checkpoint_table.c.size > size))
    with closing((restarted := NoteWorker(sandbox)).store):
        assert [Outcome.YES] * 4 == restarted.ask(*[NOTE] * 4)
        if knows == "the file":
            for one in (worker, restarted):
                keep_checkpoints(one.settings.store, path, one.ledger, stopping)
            assert [Reason.STORE_UNAVAILABLE] == restarted.ask(NOTE)

    assert [Reason.STORE_UNAVAILABLE] == worker.ask(NOTE)
    with pytest.raises(StoreError):
        worker.recorder.ping()
    assert newest == path.read_text("utf-8")


@both_engines_in_full
def test_foreign_checkpoint_is_not_continued(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """Nothing is signed on top of a checkpoint that no key of the service signed."""
    worker, other = workers
    worker.ask(NOTE)
    foreign = replace(worker.signer, key=Ed25519PrivateKey.generate())
    with worker.store.transaction() as connection:
        size = connection.execute(select(func.max(checkpoint_table.c.size))).scalar_one()
        last = select(checkpoint_table.c.note).where(checkpoint_table.c.size == size)
        head = checkpoint.parse(connection.execute(last).scalar_one()).checkpoint
        note = checkpoint.sign(Checkpoint(head.origin, head.size, head.root), foreign, worker.micros)
        connection.execute(update(checkpoint_table).where(checkpoint_table.c.size == size).values(note=note))

    assert [Reason.STORE_UNAVAILABLE] == other.ask(NOTE)


def test_fault_while_rows_are_read(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """A look-up that fails while it reads rows leaves no lock behind: its refusal is recorded at once."""
    worker, _ = workers

    def failing(context: LookupContext, _inquiries: Sequence[Inquiry]) -> Sequence[LookupResult | Refusal]:
        for _ in context.connection.execute(text("SELECT 1 FROM ledger.checkpoint, facts.load")):
            raise OSError("the disk failed")
        return ()

    worker.recorder._lookups = {CHECK_NOTE.name: failing}
    refused = worker.ask(NOTE)
    with worker.store.transaction() as connection:
        *_, recorded = search.entries_between(connection, 0, None)

    assert [Reason.STORE_UNAVAILABLE] == refused
    assert Reason.STORE_UNAVAILABLE == recorded.entry.refusal


@both_engines_in_full
def test_shorter_ledger(workers: tuple[NoteWorker, NoteWorker]) -> None:
    """From a ledger that lost its newest answers while the service ran, nothing is answered: it would be forked."""
    first, _ = workers
    first.ask(NOTE)
    with first.store.transaction() as connection:
        size = search.size(connection)
    answered = first.ask(NOTE)
    with first.store.transaction() as connection:
        connection.execute(delete(entry_table).where(entry_table.c["index"] >= size))
        connection.execute(delete(checkpoint_table).where(checkpoint_table.c.size > size))

    assert [Outcome.YES] == answered
    assert [Reason.STORE_UNAVAILABLE] == first.ask(NOTE)
    with suppress(StoreError):  # on SQLite, its files are left open
        first.store.close()
