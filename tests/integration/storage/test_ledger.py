"""The ledger on every database: one tree for all writers; verification detects every change."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Connection, delete, insert, select, update

from development.sandbox import Sandbox
from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey, verifying_keys
from estelam.core.model import Caller, Inquiry, Outcome, person_subject
from estelam.core.pem import KeyFileError
from estelam.inquiry.v1.inquiry_pb2 import ANSWER_YES, Entry, Receipt
from estelam.inquiry.v1.inquiry_pb2 import Outcome as WireOutcome
from estelam.ledger import confirmations, proofs, search, verify
from estelam.ledger.confirmations import ProvenCommits
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import (
    STORED_COLUMNS,
    SUBJECT_COLUMNS,
    StoredEntry,
    annulment_table,
    checkpoint_table,
    confirmation_table,
    entry_table,
    fact_note_table,
    key_use_table,
    node_table,
)
from estelam.ledger.writer import EntryDraft, LedgerWriter
from estelam.promissory.v1 import note_inquiry_pb2 as pb
from estelam.receipts.checkpoint import Checkpoint, sign
from estelam.receipts.problems import END_OF_TIME
from estelam.receipts.receipt import Verifier
from estelam.receipts.tree import (
    HASH_BYTES,
    Frontier,
    is_consistent,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    root_from_path,
)
from estelam.storage.store import AccessMode, Store, StoreError
from promissory.methods import CHECK_NOTE as METHOD
from tests.conftest import both_engines_in_full
from tests.support.certificates import certificate_pem, concatenate

pytestmark = both_engines_in_full

CALLER = Caller("99001187852")


class Writer:
    """Writes batches to the promissory ledger of a sandbox, on its own connection."""

    def __init__(self, box: Sandbox) -> None:
        settings = box.promissory()
        self.store = Store(settings.store, ledger=AccessMode.WRITE)
        self.keys = verifying_keys(settings.signing_certificates)
        self.keyring = HmacKeyring.load(settings.hmac_keyring)
        self._signer = SigningKey.load(settings.signing_key, settings.signing_certificates)
        self.ledger = LedgerWriter(
            settings.SECTION,
            keyring=self.keyring,
            signer=self._signer,
            clock=Clock(),
        )

    def write(self, *amounts: int, fault: bool = False, caller: Caller = CALLER) -> list[Receipt]:
        """Append one commit with a YES for each of *amounts*; return the receipts. *fault* prevents the commit."""
        with self.store.transaction() as connection:
            receipts = self.append(connection, *amounts, caller=caller)
            return receipts if 1 // (not fault) else []

    def append(self, connection: Connection, *amounts: int, caller: Caller = CALLER) -> list[Receipt]:
        """The same, within a transaction."""
        appended = self.ledger.append_at_once(connection, [self._draft(amount, caller) for amount in amounts])
        return [*map(Receipt.FromString, appended.receipts())]

    def annul(self, index: int) -> None:
        """Append a refusal that annuls entry *index*."""
        refused = self._draft(1)._replace(outcome=Reason.STORE_UNAVAILABLE, reply=None, annuls=index)
        with self.store.transaction() as connection:
            self.ledger.append_at_once(connection, [refused])

    def begin_at(self, size: int) -> None:
        """Store a checkpoint of *size* entries, which the ledger does not hold."""
        tree = Frontier(size, (bytes(HASH_BYTES),) * size.bit_count())
        micros = Clock().micros()
        note = sign(Checkpoint(self.ledger.origin, size, tree.root), self._signer, micros)
        with self.store.transaction() as connection:
            connection.execute(insert(checkpoint_table).values((size, note, tree.serialize(), micros)))

    def sign_anew(self, connection: Connection) -> None:
        """Replace all checkpoints by those of the entries as they are now, as the key's holder could."""
        columns, tree = checkpoint_table.c, Frontier()
        leaves = [*connection.execute(select(entry_table.c.leaf).order_by(entry_table.c["index"])).scalars()]
        for row in connection.execute(select(checkpoint_table).order_by(columns.size)).all():
            tree = tree.append([leaf_hash(leaf) for leaf in leaves[tree.size : row.size]]).frontier
            note = sign(Checkpoint(self.ledger.origin, tree.size, tree.root), self._signer, row.signed_at_micros)
            changed = update(checkpoint_table).where(columns.size == row.size)
            connection.execute(changed.values(note=note, frontier=tree.serialize()))

    def commits(self) -> ProvenCommits:
        return ProvenCommits(self.ledger.verify)

    def heads(self, start: Frontier | None = None) -> list[Checkpoint]:
        with self.store.transaction() as connection:
            return list(verify.verify_ledger(connection, self.keys, start))

    @staticmethod
    def _draft(amount: int, caller: Caller = CALLER) -> EntryDraft:
        request = pb.CheckNoteRequest(
            serial="1404000000000017", obligor_id="9990000018", beneficiary_id="99000554330", amount_rials=amount
        )
        inquiry = Inquiry(uuid_utils.uuid7(), METHOD, caller, 0.0, request=request)
        return EntryDraft(inquiry, Outcome.YES, pb.CheckNoteResponse(answer=ANSWER_YES))


@pytest.fixture
def writer(sandbox: Sandbox) -> Iterator[Writer]:
    writer = Writer(sandbox)
    with closing(writer.store):
        yield writer


def test_ledger_of_nobody(sandbox: Sandbox, tmp_path: Path) -> None:
    """Nothing is signed with a key whose certificate names no organisation: no receipt could be verified."""
    settings = sandbox.promissory()
    public = verifying_keys(settings.signing_certificates).popitem()[1].public
    certificate = concatenate(tmp_path / "receipts.crt", [certificate_pem(sandbox.pki, public, organizations=())])
    signer = SigningKey.load(settings.signing_key, [certificate])

    with pytest.raises(KeyFileError, match="must name one organizationIdentifier"):
        LedgerWriter("promissory", keyring=HmacKeyring.load(settings.hmac_keyring), signer=signer, clock=Clock())


def test_commits_of_any_size_form_one_tree(writer: Writer) -> None:
    """Commits of any size form one valid tree, and every receipt is in it."""
    receipts = [receipt for size in (1, 2, 3, 7, 64, 65) for receipt in writer.write(*range(1, size + 1))]
    verifier = Verifier(writer.keys)

    assert [1, 3, 6, 13, 77, 142] == [head.size for head in writer.heads()]
    assert [*range(142)] == [verifier.verify_receipt(receipt).index for receipt in receipts]


def test_failed_transaction_leaves_nothing(writer: Writer) -> None:
    """A failed transaction leaves no entry and no checkpoint."""
    writer.write(1)
    with pytest.raises(ZeroDivisionError):
        writer.write(2, fault=True)
    writer.write(3)

    assert [1, 2] == [head.size for head in writer.heads()]


@pytest.mark.parametrize(
    "change", [{"frontier": bytes(32)}, {"frontier": b""}, {"note": "damaged"}, {"size": 2}], ids=str
)
def test_damaged_checkpoint_is_not_continued(writer: Writer, change: dict[str, Any]) -> None:
    """Nothing is signed on top of a last checkpoint that does not describe the stored tree."""
    writer.write(1)
    with writer.store.transaction() as connection:
        connection.execute(update(checkpoint_table).values(change))

    with pytest.raises(StoreError, match="the last checkpoint of the ledger is"):
        writer.write(2)


def test_proofs_from_stored_nodes(writer: Writer) -> None:
    """Inclusion and consistency are proven for every checkpoint, across stored nodes of a higher level."""
    receipts = [receipt for size in (200, 100, 1, 300) for receipt in writer.write(*range(1, size + 1))]
    heads = writer.heads()
    with writer.store.transaction() as connection:
        nodes = proofs.StoredNodes(connection)
        assert 2 == len(connection.execute(select(node_table)).all())
        for head in heads:
            for index in {0, 199, 255, 256, 300, 600} & {*range(head.size)}:
                path = prove_inclusion(index, head.size, nodes)
                assert head.root == root_from_path(leaf_hash(receipts[index].entry), index, head.size, path)
            for old in heads:
                if old.size <= head.size:
                    proof = prove_consistency(old.size, head.size, nodes)
                    assert is_consistent(old.size, old.root, head.size, head.root, proof)


def test_verification_from_an_earlier_checkpoint(writer: Writer) -> None:
    """Verification from any earlier checkpoint reads only what follows; from another tree it fails."""
    for size in (1, 200, 100, 3):
        writer.write(*range(1, size + 1))
    heads = writer.heads()
    with writer.store.transaction() as connection:
        starts = [verify.tree_at(connection, head.size, head.root) for head in heads]
        with pytest.raises(LedgerCorruptError):
            verify.tree_at(connection, heads[0].size, heads[1].root)
        with pytest.raises(LedgerCorruptError):
            verify.tree_at(connection, 2, heads[1].root)

    assert [heads[count:] for count in range(1, 5)] == [writer.heads(start) for start in starts]


def test_heads_kept_elsewhere(writer: Writer) -> None:
    """Every kept head is confirmed; one beyond the end, or of another tree, is not."""
    for size in (1, 200, 100):
        writer.write(*range(1, size + 1))
    heads = [(head.size, head.root) for head in writer.heads()]
    last = writer.heads()[-1]
    with writer.store.transaction() as connection:
        verify.verify_heads(connection, last, heads)
        for wrong in ((last.size + 1, last.root), (201, bytes(32)), (7, heads[0][1])):
            with pytest.raises(LedgerCorruptError):
                verify.verify_heads(connection, last, [wrong])


def test_ledger_signed_anew_by_its_key(writer: Writer) -> None:
    """A ledger in which an entry was changed, and all signed anew with its real key, fails against a kept head."""
    for size in (1, 2, 3):
        writer.write(*range(1, size + 1))
    kept = [(head.size, head.root) for head in writer.heads()]
    with writer.store.transaction() as connection:
        connection.execute(_changed_entry(connection))
        connection.execute(confirmation_table.delete().where(_CONFIRMED == 2))
        writer.sign_anew(connection)

    heads = writer.heads()
    with writer.store.transaction() as connection:
        verify.verify_heads(connection, heads[-1], kept[:1])  # the change came after it
        for head in kept[1:]:
            with pytest.raises(LedgerCorruptError):
                verify.verify_heads(connection, heads[-1], [head])


_ENTRY, _CHECKPOINT, _CONFIRMED = entry_table.c["index"], checkpoint_table.c.size, confirmation_table.c["index"]
CHANGES: dict[str, Callable[[Connection], object]] = {
    "an entry's byte": lambda c: c.execute(_changed_entry(c)),
    "search keys": lambda c: c.execute(update(entry_table).where(_ENTRY == 2).values(search_keys=_other_keys(c))),
    "an index key": lambda c: c.execute(update(entry_table).where(_ENTRY == 2).values(subject_2=7)),
    "no index key": lambda c: c.execute(update(entry_table).where(_ENTRY == 2).values(subject_3=None)),
    "a confirmation gone": lambda c: c.execute(confirmation_table.delete().where(_CONFIRMED == 2)),
    "all confirmations gone": lambda c: c.execute(confirmation_table.delete()),
    "a confirmation's key": lambda c: c.execute(update(confirmation_table).where(_CONFIRMED == 2).values(key="0" * 32)),
    "a confirmation's time": lambda c: c.execute(
        update(confirmation_table).where(_CONFIRMED == 2).values(confirmed_at_micros=7)
    ),
    "a confirmation of no entry": lambda c: c.execute(
        insert(confirmation_table).values(index=6, key="0" * 32, confirmed_at_micros=7)
    ),
    "an entry gone": lambda c: c.execute(entry_table.delete().where(_ENTRY == 3)),
    "a checkpoint gone": lambda c: c.execute(checkpoint_table.delete().where(_CHECKPOINT == 4)),
    "a frontier": lambda c: c.execute(update(checkpoint_table).where(_CHECKPOINT == 2).values(frontier=bytes(32))),
    "a note": lambda c: c.execute(update(checkpoint_table).where(_CHECKPOINT == 2).values(note=_note(c, 4))),
    "a node": lambda c: c.execute(insert(node_table).values(level=8, index=0, hash=bytes(32))),
    "an annulment": lambda c: c.execute(insert(annulment_table).values(index=2, annulled_by=3)),
    "a key's use": lambda c: c.execute(update(key_use_table).values(first_index=2)),
    "a key's check value": lambda c: c.execute(update(key_use_table).values(check_value=bytes(8))),
    "a key's use gone": lambda c: c.execute(key_use_table.delete()),
    "a load's note": lambda c: c.execute(insert(fact_note_table).values(index=2, kind="load", number=1)),
    "a time": lambda c: c.execute(update(checkpoint_table).where(_CHECKPOINT == 6).values(signed_at_micros=7)),
}


def _changed_entry(connection: Connection) -> Any:
    leaf = connection.execute(select(entry_table.c.leaf).where(_ENTRY == 2)).scalar_one()
    entry = Entry.FromString(leaf)
    entry.outcome = WireOutcome.OUTCOME_NO
    changed = entry.SerializeToString(deterministic=True)
    return update(entry_table).where(_ENTRY == 2).values(leaf=changed)


def _other_keys(connection: Connection) -> Any:
    return connection.execute(select(entry_table.c.search_keys).where(_ENTRY == 3)).scalar_one()


def _note(connection: Connection, size: int) -> Any:
    return connection.execute(select(checkpoint_table.c.note).where(_CHECKPOINT == size)).scalar_one()


@pytest.mark.parametrize("change", CHANGES)
def test_later_change_is_detected(writer: Writer, change: str) -> None:
    """Any later change of the ledger's tables is detected."""
    for _ in range(3):
        writer.write(1, 2)
    with writer.store.transaction() as connection:
        CHANGES[change](connection)

    with pytest.raises(LedgerCorruptError):
        writer.heads()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (Entry(answered_at_micros=END_OF_TIME).SerializeToString(), "states a time after the year 9999"),
        (Entry(answered_at_micros=2**64 - 1).SerializeToString(), "states a time after the year 9999"),
        (b"\xa2\x06\x01", "can't be read"),
    ],
    ids=["year 10000", "largest", "cut off"],
)
def test_entry_that_cannot_be_read(writer: Writer, more: bytes, problem: str) -> None:
    """A signed entry that can't be read, or states a time of no calendar, is corrupt for every reader."""
    writer.write(1)
    with writer.store.transaction() as connection:
        leaf = connection.execute(select(entry_table.c.leaf)).scalar_one()
        connection.execute(update(entry_table).values(leaf=leaf + more))
        writer.sign_anew(connection)

    with pytest.raises(LedgerCorruptError, match=f"the commit after entry 0: entry 0 of the ledger {problem}"):
        writer.heads()
    with writer.store.transaction() as connection, pytest.raises(LedgerCorruptError, match=problem):
        list(search.entries_about(connection, writer.keyring, person_subject("9990000018")))


def test_entries_are_found_by_each_subject_only(writer: Writer) -> None:
    """An entry is found by each of its subjects and by nothing else."""
    receipts = [*writer.write(1, 2), *writer.write(3)]
    with writer.store.transaction() as connection:
        obligor = search.entries_about(connection, writer.keyring, person_subject("9990000018"))
        stranger = search.entries_about(connection, writer.keyring, person_subject("9990000026"))

    assert [receipt.entry for receipt in receipts] == [stored.leaf for stored in obligor]
    assert [] == stranger


@pytest.mark.parametrize("column", SUBJECT_COLUMNS)
def test_search_on_sqlite_probes_each_segment(writer: Writer, column: str) -> None:
    """A search for a few subjects reads no index from end to end, however long the ledger is."""
    with writer.store.transaction() as connection:
        if connection.dialect.name != "sqlite":
            pytest.skip("SQLite's index is divided into segments")
        query = search.entries_with_keys_query(connection, [1, 2], column)
        text = query.compile(connection.engine, compile_kwargs={"literal_binds": True}).string
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]

    assert [f"SEARCH ledger.entry USING INDEX entry_{column} (<expr>=? AND {column}=?)"] == [
        step for step in plan if f"entry_{column}" in step
    ]


@pytest.mark.parametrize("is_annulled", [False, True])
def test_older_confirmation(writer: Writer, *, is_annulled: bool) -> None:
    """A YES confirms while a newer one is from a clock that was ahead, unless its caller never got it."""
    for _ in range(2):
        writer.write(7)
    if is_annulled:
        writer.annul(0)
    with writer.store.transaction() as connection:
        older, newer, *_ = search.entries_between(connection, 0, None)
        asked = (CALLER.organization_id, older.keys.question)
        until = older.entry.answered_at_micros
        found, _ = confirmations.recent(connection, [asked], writer.commits(), since_micros=0, until_micros=until)

    assert older.entry.answered_at_micros < newer.entry.answered_at_micros
    assert (set() if is_annulled else {asked}) == found


def forged(connection: Connection, _writer: Writer) -> int:
    """Claim the YES of another caller."""
    return 0


def of_another_question(connection: Connection, _writer: Writer) -> int:
    return 2


def of_no_entry(connection: Connection, _writer: Writer) -> int:
    return 99


def of_a_changed_entry(connection: Connection, _writer: Writer) -> int:
    """Rewrite an entry, so that it is what the row claims, with the search keys of a genuine one."""
    index, stored = entry_table.c["index"], StoredEntry.parse(*connection.execute(select(*STORED_COLUMNS)).all()[1])
    connection.execute(
        update(entry_table).where(index == 2).values(leaf=stored.leaf, search_keys=stored.keys.SerializeToString())
    )
    return 2


def of_an_unsigned_checkpoint(connection: Connection, writer: Writer) -> int:
    """Rewrite an entry and the checkpoint over it, without the signing key."""
    index = of_a_changed_entry(connection, writer)
    leaves = connection.execute(select(entry_table.c.leaf).order_by(entry_table.c["index"])).scalars().all()
    tree = Frontier().append([leaf_hash(leaf) for leaf in leaves])
    rows = connection.execute(select(checkpoint_table).order_by(checkpoint_table.c.size)).all()
    signed = rows[-1].note.split("\n")
    note = "\n".join([signed[0], str(tree.size), b64encode(tree.root).decode(), *signed[3:]])
    connection.execute(update(checkpoint_table).where(checkpoint_table.c.size == tree.size).values(note=note))
    return index


def test_confirmation_without_the_checkpoint_before_it(writer: Writer) -> None:
    """A commit that was proven is proven anew where the checkpoint before it is gone: no other inquiry fails of it."""
    for serial in (7, 8, 9):
        writer.write(serial)
    commits, found = writer.commits(), []
    with writer.store.transaction() as connection:
        newest = next(iter(search.entries_between(connection, 2, None)))
        asked = [(CALLER.organization_id, newest.keys.question)]
        for _ in range(2):
            found.append(
                confirmations.recent(connection, asked, commits, since_micros=0, until_micros=Clock().micros())
            )
            connection.execute(delete(checkpoint_table).where(checkpoint_table.c.size == 2))

    assert [(set(asked), set())] * 2 == found


@pytest.mark.parametrize(
    "forge", [forged, of_another_question, of_no_entry, of_a_changed_entry, of_an_unsigned_checkpoint]
)
def test_forged_confirmation(writer: Writer, forge: Callable[[Connection, Writer], int]) -> None:
    """A row that no signed entry backs confirms nothing; where that can't be read, it is not denied either."""
    writer.write(7, caller=Caller("14003633688"))
    writer.write(7)
    writer.write(8)
    columns = confirmation_table.c
    with writer.store.transaction() as connection:
        question = next(iter(search.entries_between(connection, 1, None))).keys.question
        asked, key = (CALLER.organization_id, question), confirmations.key_of(CALLER.organization_id, question)
        until = Clock().micros()

        def confirmed() -> tuple[set[confirmations.Asked], set[confirmations.Asked]]:
            return confirmations.recent(connection, [asked], writer.commits(), since_micros=0, until_micros=until)

        before = confirmed()
        index = forge(connection, writer)
        connection.execute(delete(confirmation_table).where(columns["index"].in_([1, index])))
        connection.execute(insert(confirmation_table).values((index, key, until)))
        after = confirmed()

    unreadable = {asked} if forge is of_an_unsigned_checkpoint else set()
    assert (({asked}, set()), (set(), unreadable)) == (before, after)
