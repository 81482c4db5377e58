"""The ledger on every database: one chain for all writers; verification detects every change."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import uuid_utils
from alembic import command
from sqlalchemy import Connection, column, insert, select, table, text, update

from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.core.model import Caller, Inquiry, Outcome, person_subject
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Entry, Receipt
from estelam.inquiry.v1.inquiry_pb2 import Outcome as WireOutcome
from estelam.ledger import search, verify
from estelam.ledger.tables import SUBJECT_COLUMNS, block_table, entry_table, fact_note_table, key_use_table
from estelam.ledger.verify import Head, LedgerCorruptError
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.storage import migrate
from estelam.storage.store import AccessMode, Store
from promissory.methods import CHECK_NOTE as METHOD
from tests.conftest import both_engines
from tools.env.sandbox import Sandbox

pytestmark = both_engines

CALLER = Caller("99001187852", "0" * 64)


class Writer:
    """Writes batches to the promissory ledger of a sandbox, on its own connection."""

    def __init__(self, box: Sandbox) -> None:
        settings = box.promissory()
        self.store = Store(settings.store, ledger=AccessMode.WRITE)
        self.keys = verifying_keys(settings.signing_certificates)
        self.keyring = HmacKeyring.load(settings.hmac_keyring)
        self._ledger = LedgerWriter(
            keyring=self.keyring,
            signer=SigningKey.load(settings.signing_key, settings.signing_certificates),
            clock=Clock(),
        )

    def write(self, *amounts: int, fault: bool = False) -> list[Receipt]:
        """Append one block with a YES for each of *amounts*; return the receipts. *fault* prevents the commit."""
        with self.store.transaction() as connection:
            receipts = self.append(connection, *amounts)
            return receipts if 1 // (not fault) else []

    def append(self, connection: Connection, *amounts: int) -> list[Receipt]:
        """The same, within a transaction."""
        return self._ledger.append(connection, [self._draft(amount) for amount in amounts])

    def annul(self, entry: Entry) -> None:
        """Append a refusal that annuls *entry*."""
        refused = replace(self._draft(1), outcome=Reason.STORE_UNAVAILABLE, reply=None, annuls=entry.sequence)
        with self.store.transaction() as connection:
            self._ledger.append(connection, [refused])

    def heads(self) -> list[Head]:
        with self.store.transaction() as connection:
            return list(verify.verify_ledger(connection, self.keys))

    @staticmethod
    def _draft(amount: int) -> EntryDraft:
        request = pb.CheckNoteRequest(
            serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=amount
        )
        inquiry = Inquiry(uuid_utils.uuid7(), METHOD, CALLER, 0.0, request=request)
        return EntryDraft(inquiry, Outcome.YES, pb.CheckNoteResponse(answer=ANSWER_YES))


@pytest.fixture
def writer(sandbox: Sandbox) -> Iterator[Writer]:
    writer = Writer(sandbox)
    with closing(writer.store):
        yield writer


def test_blocks_of_any_size_form_one_chain(writer: Writer) -> None:
    """Blocks of any size form one valid chain."""
    for size in (1, 2, 3, 7, 64, 65):
        writer.write(*range(1, size + 1))

    assert [1, 3, 6, 13, 77, 142] == [head.entries for head in writer.heads()]


def test_failed_transaction_leaves_nothing(writer: Writer) -> None:
    """A failed transaction leaves no entry and no block."""
    writer.write(1)
    with pytest.raises(ZeroDivisionError):
        writer.write(2, fault=True)
    writer.write(3)

    assert [1, 2] == [head.entries for head in writer.heads()]


CHANGES: dict[str, Callable[[Connection], object]] = {
    "an entry's byte": lambda c: c.execute(_changed_entry(c)),
    "an entry's mark": lambda c: c.execute(update(entry_table).where(entry_table.c.sequence == 2).values(subject_2=7)),
    "no mark": lambda c: c.execute(update(entry_table).where(entry_table.c.sequence == 2).values(subject_3=None)),
    "an entry gone": lambda c: c.execute(entry_table.delete().where(entry_table.c.sequence == 3)),
    "a block gone": lambda c: c.execute(block_table.delete().where(block_table.c.number == 2)),
    "a root": lambda c: c.execute(update(block_table).where(block_table.c.number == 1).values(merkle_root=bytes(32))),
    "a key's use": lambda c: c.execute(update(key_use_table).values(first_sequence=2)),
    "a key's check value": lambda c: c.execute(update(key_use_table).values(check_value=bytes(8))),
    "no check value": lambda c: c.execute(update(key_use_table).values(check_value=None)),
    "a key's use gone": lambda c: c.execute(key_use_table.delete()),
    "a load's note": lambda c: c.execute(insert(fact_note_table).values(sequence=2, kind="load", number=1)),
    "a time": lambda c: c.execute(update(block_table).where(block_table.c.number == 3).values(sealed_at_micros=7)),
}


def _changed_entry(connection: Connection) -> Any:
    sealed = connection.execute(select(entry_table.c.sealed).where(entry_table.c.sequence == 2)).scalar_one()
    entry = Entry.FromString(sealed)
    entry.outcome = WireOutcome.OUTCOME_NO
    changed = entry.SerializeToString(deterministic=True)
    return update(entry_table).where(entry_table.c.sequence == 2).values(sealed=changed)


@pytest.mark.parametrize("change", CHANGES)
def test_later_change_is_detected(writer: Writer, change: str) -> None:
    """Any later change of the ledger's tables is detected."""
    for _ in range(3):
        writer.write(1, 2)
    with writer.store.transaction() as connection:
        CHANGES[change](connection)

    with pytest.raises(LedgerCorruptError):
        writer.heads()


def test_entries_are_found_by_each_subject_only(writer: Writer) -> None:
    """An entry is found by each of its subjects and by nothing else."""
    receipts = [*writer.write(1, 2), *writer.write(3)]
    with writer.store.transaction() as connection:
        obligor = search.entries_about(connection, writer.keyring, person_subject("9990000018"))
        stranger = search.entries_about(connection, writer.keyring, person_subject("9990000026"))

    assert [receipt.entry for receipt in receipts] == [entry.SerializeToString() for entry in obligor]
    assert [] == stranger


@pytest.mark.parametrize("is_annulled", [False, True])
def test_older_confirmation(writer: Writer, *, is_annulled: bool) -> None:
    """A YES confirms while a newer one is from a clock that was ahead, unless its caller never got it."""
    older, newer = (Entry.FromString(writer.write(7)[0].entry) for _ in range(2))
    if is_annulled:
        writer.annul(older)
    with writer.store.transaction() as connection:
        asked = (CALLER.organization_id, older.question)
        found = search.recent_confirmations(
            connection, asked=[asked], since_micros=0, until_micros=older.answered_at_micros
        )

    assert older.answered_at_micros < newer.answered_at_micros
    assert (set() if is_annulled else {asked}) == found


def test_migrated_ledger_is_the_same_chain(writer: Writer, sandbox: Sandbox) -> None:
    """A ledger of the first schema is the same chain after migration."""
    with writer.store.transaction() as connection:  # its entries stated no check value of their key
        connection.execute(insert(key_use_table).values(key_id=writer.keyring.current, first_sequence=1))
    writer.write(1, 2, 3)
    writer.write(4)
    before = writer.heads()
    settings = sandbox.promissory()
    old = Store(settings.store, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
    with closing(old), old.transaction() as connection:
        _back_to_the_first_schema(connection)
    migrate.migrate(settings.store, settings.MIGRATIONS)

    assert before == writer.heads()
    with writer.store.transaction() as connection:
        assert 4 == len(search.entries_about(connection, writer.keyring, person_subject("99000554330")))


def _back_to_the_first_schema(connection: Connection) -> None:
    entries = [Entry.FromString(sealed) for sealed in connection.execute(select(entry_table.c.sealed)).scalars()]
    blocks = connection.execute(select(block_table)).mappings().all()
    for name in ("entry", "block", "key_use", "fact_note", "annulment"):
        connection.execute(text(f"DROP TABLE ledger.{name}"))
    connection.execute(text("DELETE FROM ledger.alembic_version"))
    command.upgrade(migrate.alembic_config("estelam.storage:migrations", "ledger", connection), "0001")
    connection.execute(insert(block_table), [dict(block) for block in blocks])
    for entry in entries:
        values = {field.name: getattr(entry, field.name) for field in entry.DESCRIPTOR.fields}
        values |= dict(zip(SUBJECT_COLUMNS, values.pop("subjects"), strict=False))
        del values["notice"], values["annuls"], values["key_check_value"]  # the first schema had none of them
        refusal = values.pop("refusal")
        values["outcome"] = refusal or WireOutcome.Name(entry.outcome).removeprefix("OUTCOME_")
        connection.execute(insert(table("entry", *map(column, values), schema="ledger")), values)
