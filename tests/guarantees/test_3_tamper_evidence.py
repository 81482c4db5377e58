"""Guarantee 3: verification detects every change of the ledger, of a stored reply or of its receipt."""
# ruff: noqa: S608 - all names in these statements are those of the tables

import base64
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from itertools import combinations, pairwise, permutations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, StaticPool, Table, create_engine
from typer.testing import CliRunner

from development.sandbox import CHECK_NOTE, VERIFY_NOTE, Sandbox
from estelam.cli.root import application
from estelam.client.channel import ClientIdentity
from estelam.core.keys import VerifyingKey
from estelam.core.note_keys import NoteKey
from estelam.inquiry.v1.inquiry_pb2 import (
    ANSWER_NO,
    ANSWER_UNSPECIFIED,
    ANSWER_YES,
    Entry,
    Outcome,
    Receipt,
)
from estelam.ledger import verify
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.ledger.tables import (
    SUBJECT_COLUMNS,
    annulment_table,
    archive_table,
    checkpoint_table,
    confirmation_table,
    cosignature_table,
    entry_table,
    fact_note_table,
    key_use_table,
    node_table,
)
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import checkpoint, receipt
from estelam.receipts.archive import ReceiptRecord, read_archive, write_archive
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from tests.conftest import plain_channel, promissory_opening
from tests.guarantees.recorded_ledger import YES, RecordedLedger, receipt_of
from tests.support.service import RunningService
from tests.support.store_copies import forget_checkpoints

Row = dict[str, Any]
Change = tuple[str, tuple[Any, ...]]

LEDGER = ("ledger", "verify", "promissory")
RECEIPT = ("receipt", "verify")

TABLES = (entry_table, checkpoint_table, key_use_table, fact_note_table, confirmation_table)
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


class AsText(bytes):
    """Bytes that are written to a column as text, valid or not."""


class LedgerTampering:
    """Changes the ledger's tables, verifies, and rolls the change back."""

    def __init__(self, connection: Connection, keys: Mapping[str, VerifyingKey]) -> None:
        self._connection = connection
        # Signature checks are cached, for thousands of verifications of one ledger.
        self._keys: Any = {
            name: SimpleNamespace(public=key.public, verify=cache(key.verify), invalidity=key.invalidity)
            for name, key in keys.items()
        }

    def rows(self, table: Table) -> list[Row]:
        found = self._connection.exec_driver_sql(f"SELECT rowid, * FROM {table} ORDER BY 2").mappings()
        return [dict(row) for row in found]

    def heads(self) -> list[Checkpoint]:
        return list(verify.verify_ledger(self._connection, self._keys))

    def undetected(self, changes: Iterable[Sequence[Change]]) -> list[Sequence[Change]]:
        """Return those of *changes* (each a group of statements) that verification does not detect."""
        tried = list(changes)
        assert tried
        return [change for change in tried if self._is_undetected(change)]

    def _is_undetected(self, change: Sequence[Change]) -> bool:
        self._connection.exec_driver_sql("BEGIN")
        try:
            for statement, values in change:
                self._connection.exec_driver_sql(statement, values)
            self.heads()
        except (LedgerCorruptError, LedgerUncheckedError):  # the latter for another name of a key
            return False
        else:
            return True
        finally:
            self._connection.exec_driver_sql("ROLLBACK")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedLedger:
    return RecordedLedger(tmp_path_factory.mktemp("tampering") / "suite")


@pytest.fixture(scope="module")
def tampering(recorded: RecordedLedger) -> Iterator[LedgerTampering]:
    """A copy of the ledger in tables without types and constraints, so that any value can be written.

    It is verified in ranges of a few commits; elsewhere a ledger as short as this one is verified at once.
    """
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None})
    with engine.connect() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "RANGE_ENTRIES", 5)
        connection.exec_driver_sql("ATTACH ':memory:' AS ledger")
        connection.exec_driver_sql("ATTACH ? AS source", (str(recorded.sandbox.folder / "promissory" / "ledger.db"),))
        for table in (*TABLES, annulment_table, archive_table, cosignature_table, node_table):
            connection.exec_driver_sql(f"CREATE TABLE {table} ({', '.join(map(quoted, columns_of(table)))})")
            connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM source.{table.name}")
        yield LedgerTampering(connection, recorded.keys)
    engine.dispose()


def quoted(name: str) -> str:
    return f'"{name}"'


def columns_of(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def update_row(table: Table, row: Row, values: Mapping[str, Any]) -> Change:
    """Write *values* to *row*."""
    places = (f"{quoted(name)} = {'CAST(? AS TEXT)' if isinstance(v, AsText) else '?'}" for name, v in values.items())
    return f"UPDATE {table} SET {', '.join(places)} WHERE rowid = ?", (*values.values(), row["rowid"])


def insert_row(table: Table, row: Row, **changes: Any) -> Change:
    """Insert a row like *row*, with *changes*."""
    names = columns_of(table)
    values = tuple((row | changes)[name] for name in names)
    return f"INSERT INTO {table} ({', '.join(map(quoted, names))}) VALUES ({', '.join('?' * len(names))})", values


def other_values(value: Any, *, every_byte: bool) -> Iterator[Any]:
    """Yield values other than *value*: changed bits, other lengths, null, and the same value in another type."""
    if isinstance(value, bytes | str):
        raw, kind = (value, bytes) if isinstance(value, bytes) else (value.encode(), AsText)
        yield from map(kind, flips(raw, (1, 128), range(len(raw)) if every_byte else {0, len(raw) // 2, len(raw) - 1}))
        yield from map(kind, {raw[:-1], raw + b"\0", raw + b" ", b"", bytes(32)} - {raw})
        yield from (AsText(raw) if kind is bytes else raw, len(raw), None)
    elif isinstance(value, int):
        yield from (value ^ 1 << bit for bit in (0, 7, 31, 62))
        yield from (*({value + 1, -value, 0} - {value}), float(value), str(value), b"1", None)
    else:
        yield from (b"", "", 0, bytes(32))


def flips(value: bytes, masks: Collection[int], where: Collection[int]) -> Iterator[bytes]:
    for position, mask in product(where if value else (), masks):
        yield value[:position] + bytes([value[position] ^ mask]) + value[position + 1 :]


def test_recorded_ledger_is_valid_and_varied(tampering: LedgerTampering) -> None:
    """The ledger under test verifies, and has entries of every outcome in commits of several sizes."""
    entries = [Entry.FromString(row["leaf"]) for row in tampering.rows(entry_table)]
    outcomes = {entry.refusal or Outcome.Name(entry.outcome) for entry in entries}
    ends = [row["size"] for row in tampering.rows(checkpoint_table)]
    sizes = [end - start for start, end in pairwise([0, *ends])]

    assert outcomes >= {
        "OUTCOME_YES",
        "OUTCOME_NO",
        "OUTCOME_DISCLOSED",
        "NOT_GRANTED",
        "FIELD_INVALID",
        "AGENCY_NOT_MEMBER",
    }
    assert (len(sizes), 26) == (len(tampering.heads()), sum(sizes))
    assert min(len(sizes), max(sizes)) >= 4


@each_table
def test_changed_value_is_detected(tampering: LedgerTampering, table: Table) -> None:
    """Any other value in any column of any row is detected."""
    changes = (
        [update_row(table, row, {column: value})]
        for row in tampering.rows(table)
        for column in columns_of(table)
        for turn, value in enumerate(other_values(row[column], every_byte=row["rowid"] == 2))
        # All values in one row, a third of them in each other row: each one verifies the whole ledger.
        if row["rowid"] == 2 or (row["rowid"] + turn) % 3 == 0
    )

    assert [] == tampering.undetected(changes)


def test_added_line_of_a_note_is_detected(tampering: LedgerTampering) -> None:
    """A checkpoint's note has no line but the ledger's own signature, though others may be in a note elsewhere."""
    changes = (
        [update_row(checkpoint_table, row, {"note": row["note"] + line})]
        for row in tampering.rows(checkpoint_table)
        for line in (f"— witness.example/w1 {'A' * 100}\n", row["note"].splitlines(keepends=True)[-1])
    )

    assert [] == tampering.undetected(changes)


def test_permuted_subjects_are_detected(tampering: LedgerTampering) -> None:
    """Index keys that change columns are detected."""
    changes = (
        [update_row(entry_table, row, dict(zip(SUBJECT_COLUMNS, permuted, strict=True)))]
        for row in tampering.rows(entry_table)
        for original in [tuple(row[name] for name in SUBJECT_COLUMNS)]
        for permuted in set(permutations(original)) - {original}
    )

    assert [] == tampering.undetected(changes)


@each_table
def test_deleted_or_duplicated_row_is_detected(tampering: LedgerTampering, table: Table) -> None:
    """A deleted or duplicated row is detected."""
    rows = tampering.rows(table)

    assert [] == tampering.undetected([(f"DELETE FROM {table} WHERE rowid = ?", (row["rowid"],))] for row in rows)
    assert [] == tampering.undetected([insert_row(table, row)] for row in rows)


@pytest.mark.parametrize("table", [entry_table, checkpoint_table, fact_note_table], ids=lambda table: table.name)
def test_swapped_rows_are_detected(tampering: LedgerTampering, table: Table) -> None:
    """Any two swapped rows are detected."""
    names = columns_of(table)[1:]  # all but the key
    pairs = combinations(tampering.rows(table), 2)

    assert [] == tampering.undetected(
        [update_row(table, one, {n: other[n] for n in names}), update_row(table, other, {n: one[n] for n in names})]
        for one, other in pairs
    )


def test_forged_row_is_detected(tampering: LedgerTampering) -> None:
    """A forged row is detected at any position."""
    entries, checkpoints = tampering.rows(entry_table), tampering.rows(checkpoint_table)
    places = [0, -1, 0.5, 3.5, "1", b"1", len(entries), len(entries) + 1, len(entries) + 1.5, None]
    other = Entry.FromString(entries[1]["leaf"])
    other.caller = "99000079195"
    leaf = other.SerializeToString(deterministic=True)
    forged = [[insert_row(entry_table, entries[1], index=place, leaf=leaf)] for place in places]
    forged += [[insert_row(checkpoint_table, checkpoints[-1], size=place)] for place in places]
    forged.append([update_row(checkpoint_table, checkpoints[0], {"frontier": 32})])  # no bytes, as the right value has

    assert [] == tampering.undetected(forged)


@pytest.fixture
def copied(recorded: RecordedLedger, tmp_path: Path) -> Sandbox:
    """A copy of the whole sandbox, for permanent changes."""
    shutil.copytree(recorded.sandbox.folder, tmp_path / "copied")
    return Sandbox(tmp_path / "copied")


def truncate(sandbox: Sandbox, commits: int) -> None:
    """Delete all but the first *commits* commits."""
    with contextlib.closing(sqlite3.connect(sandbox.folder / "promissory" / "ledger.db")) as connection, connection:
        kept = connection.execute("SELECT size FROM checkpoint ORDER BY size LIMIT ?", (commits,)).fetchall()
        end = max((size for (size,) in kept), default=0)
        for table, column in (
            ("entry", "index"),
            ("fact_note", "index"),
            ("annulment", "annulled_by"),
            ("confirmation", "index"),
            ("key_use", "first_index"),
        ):
            connection.execute(f'DELETE FROM {table} WHERE "{column}" >= ?', (end,))
        connection.execute("DELETE FROM checkpoint WHERE size > ?", (end,))


def run(sandbox: Sandbox, *arguments: str) -> tuple[int, Row]:
    """Return the exit code of a command and its JSON output."""
    result = CliRunner().invoke(application(), [*arguments, "--json"], env=dict(sandbox.environ))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, json.loads(result.stdout)


def test_truncation_is_detected_by_published_head(copied: Sandbox) -> None:
    """A truncated ledger verifies alone, and fails against a head published earlier."""
    code, published = run(copied, *LEDGER)
    seen = []
    for commits in reversed(range(published["commits"])):
        truncate(copied, commits)
        seen.append((run(copied, *LEDGER)[0], run(copied, *LEDGER, "--head", published["head"])[0]))

    assert 0 == code
    assert [(0, 1)] * published["commits"] == seen


def test_rewritten_end_is_detected_by_published_head(copied: Sandbox) -> None:
    """An end rewritten with the service's own key fails against a head or a checkpoint that was kept."""
    _, published = run(copied, *LEDGER)
    kept = copied.folder / "kept"
    kept.write_text(run(copied, "ledger", "checkpoint", "promissory")[1]["note"])
    truncate(copied, published["commits"] - 1)
    forget_checkpoints(copied.promissory().store)  # by which the service would notice
    with (
        RunningService(promissory_opening(copied, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(copied.pki, "setad")) as channel,
    ):
        for _ in range(3):
            PromissoryNoteInquiryServiceStub(channel).CheckNote(YES, timeout=10)
    alone, against = run(copied, *LEDGER), run(copied, *LEDGER, "--head", published["head"])

    assert (0, published["commits"] + 2) == (alone[0], alone[1]["commits"])
    assert (1, True) == (against[0], "INVALID" in against[1]["error"])
    for option in ("--heads", "--from"):
        code, found = run(copied, *LEDGER, option, str(kept))
        assert (1, True) == (code, "INVALID" in found["error"])


def test_earlier_heads_stay_valid(recorded: RecordedLedger, tampering: LedgerTampering) -> None:
    """Every head published earlier stays valid as the ledger grows, and verification may start from it."""
    for option in ("--head", "--from"):
        assert all(run(recorded.sandbox, *LEDGER, option, str(head))[0] == 0 for head in tampering.heads())


def is_valid(file: Path, keys: Mapping[str, VerifyingKey]) -> bool:
    try:
        return all(receipt.verify(record.method, record.request, record.reply, keys) for record in read_archive(file))
    except InvalidReceipt:
        return False


@pytest.mark.slow
def test_changed_byte_of_archive_is_detected(recorded: RecordedLedger, tmp_path: Path) -> None:
    """Any changed byte and any missing end of a saved line is detected."""
    file = tmp_path / "reply"
    write_archive(file, [recorded.reply_with(ANSWER_YES)])
    valid = file.read_bytes().removesuffix(b"\n")
    masks = (0x01, 0x07, 0x80)
    damaged = [*flips(valid, masks, range(len(valid))), *(valid[:end] for end in range(len(valid)))]

    assert [] == [other for other in damaged if file.write_bytes(other) >= 0 and is_valid(file, recorded.keys)]


Alter = Callable[[Any, Any, Any, Any], object]
MORE = b"\xf8\x07\x01"  # an unknown field
FOREIGN_KEY = Ed25519PrivateKey.generate()


def copy_from_other(*names: str) -> Alter:
    return lambda receipt, _p, _q, other: receipt.MergeFrom(Receipt(**{name: getattr(other, name) for name in names}))


def shift_time(receipt: Any, nanos: int, seconds: int = 0) -> None:
    receipt.answered_at.nanos += nanos
    receipt.answered_at.seconds += seconds


def sign_with_foreign_key(receipt: Any, *, with_its_hash: bool) -> None:
    parsed = checkpoint.parse(receipt.checkpoint)
    body, ((name, own_hash, _),) = parsed.checkpoint.body, parsed.signatures
    key_hash = NoteKey(name, FOREIGN_KEY.public_key()).hash if with_its_hash else own_hash
    signature = base64.b64encode(key_hash + FOREIGN_KEY.sign(body.encode())).decode()
    receipt.checkpoint = f"{body}\n— {name} {signature}\n"


ALTERATIONS: dict[str, Alter] = {
    "answer inverted": lambda _r, reply, *_: setattr(reply, "answer", 3 - reply.answer),
    "unknown field in reply": lambda _r, reply, *_: reply.MergeFromString(MORE),
    "other amount": lambda _r, _reply, request, _o: setattr(request, "amount_rials", 7),
    "unknown field in request": lambda _r, _reply, request, _o: request.MergeFromString(MORE),
    "receipt of another reply": lambda receipt, _reply, _request, other: receipt.CopyFrom(other),
    "no receipt": lambda _r, reply, *_: reply.ClearField("receipt"),
    "unknown field in receipt": lambda receipt, *_: receipt.MergeFromString(MORE),
    "unknown field in time": lambda receipt, *_: receipt.answered_at.MergeFromString(MORE),
    "time + 1 ns": lambda receipt, *_: shift_time(receipt, 1),
    "time + 1 us": lambda receipt, *_: shift_time(receipt, 1000),
    "denormalized time": lambda receipt, *_: shift_time(receipt, 10**9, -1),
    "entry and salt of another": copy_from_other("entry", "salt"),
    "checkpoint of another": copy_from_other("checkpoint"),
    "signature of another": lambda receipt, _p, _q, other: setattr(
        receipt, "checkpoint", receipt.checkpoint.partition("\n\n")[0] + "\n\n" + other.checkpoint.partition("\n\n")[2]
    ),
    "index of another": copy_from_other("index"),
    "request and reply of another": copy_from_other("request", "reply"),
    "inquiry id of another": copy_from_other("inquiry_id"),
    "unknown field in entry": lambda receipt, *_: setattr(receipt, "entry", receipt.entry + MORE),
    "unknown field in committed request": lambda receipt, *_: setattr(receipt, "request", receipt.request + MORE),
    "unknown field in committed reply": lambda receipt, *_: setattr(receipt, "reply", receipt.reply + MORE),
    "extension line in checkpoint": lambda receipt, *_: setattr(
        receipt, "checkpoint", receipt.checkpoint.replace("\n\n", "\nmore\n\n")
    ),
    "shorter path": lambda receipt, *_: receipt.inclusion_path.pop(),
    "longer path": lambda receipt, *_: receipt.inclusion_path.append(bytes(32)),
    "reversed path": lambda receipt, *_: receipt.inclusion_path.reverse(),
    "foreign signature with its key hash": lambda receipt, *_: sign_with_foreign_key(receipt, with_its_hash=True),
    "foreign signature with the service's": lambda receipt, *_: sign_with_foreign_key(receipt, with_its_hash=False),
}


@pytest.mark.parametrize("answer", [ANSWER_YES, ANSWER_NO], ids=["YES", "NO"])
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_altered_reply_is_detected(recorded: RecordedLedger, alteration: str, answer: int) -> None:
    """Any altered part of a request, a reply or a receipt is detected."""
    record = recorded.reply_with(answer)
    other = receipt_of(recorded.reply_with(3 - answer, outside=receipt_of(record).checkpoint))
    altered: Any = deepcopy(record)
    ALTERATIONS[alteration](altered.reply.receipt, altered.reply, altered.request, other)

    assert [True, False] == [proves(item, recorded.keys) for item in (record, altered)]


def test_altered_party_or_method_is_detected(recorded: RecordedLedger) -> None:
    """A changed name of a party and a changed method are detected."""
    disclosed: Any = recorded.reply_with(ANSWER_UNSPECIFIED)
    renamed, methods = deepcopy(disclosed), (CHECK_NOTE, VERIFY_NOTE, "grpc.health.v1.Health/Check")
    renamed.reply.obligor.full_name += " "
    for altered in (renamed, *(ReceiptRecord(method, disclosed.request, disclosed.reply) for method in methods)):
        assert not proves(altered, recorded.keys)


def test_receipts_of_two_callers_share_no_value(recorded: RecordedLedger) -> None:
    """The receipts of two callers about one person share only what is public, and no identifier is in their entries."""
    setad, agency = (receipt_of(recorded.answer_to(caller, YES)) for caller in ("setad", "agency"))
    entries = [Entry.FromString(each.entry) for each in (setad, agency)]
    names = [field.name for field in Entry.DESCRIPTOR.fields]
    shared = {name for name in names if getattr(entries[0], name) == getattr(entries[1], name)}
    receipts = {
        field.name for field in Receipt.DESCRIPTOR.fields if getattr(setad, field.name) == getattr(agency, field.name)
    }
    identifiers = [str(value).encode() for _, value in YES.ListFields()]

    assert setad.request == agency.request  # each caller's own question, in clear
    assert {"request", "reply"} == receipts
    assert {"method", "agency", "outcome", "refusal", "notice", "annuls", "nonce"} == shared - {
        "latency_micros"
    }  # by chance
    assert not [value for value in identifiers for each in (setad, agency) if value in each.entry]


def proves(record: ReceiptRecord, keys: Mapping[str, VerifyingKey]) -> bool:
    try:
        return bool(receipt.verify(record.method, record.request, record.reply, keys))
    except InvalidReceipt:
        return False


def test_receipt_verify_command(recorded: RecordedLedger, tmp_path: Path) -> None:
    """`receipt verify` accepts only valid files under the right certificate."""
    valid, broken = tmp_path / "valid", tmp_path / "broken"
    write_archive(valid, [recorded.reply_with(ANSWER_YES), recorded.reply_with(ANSWER_UNSPECIFIED)])
    broken.write_bytes(valid.read_bytes().replace(b", ", b","))
    foreign = ("--certificate", str(recorded.sandbox.pki / "judiciary-receipts.crt"))
    code, facts = run(recorded.sandbox, *RECEIPT, str(valid))
    refused = [run(recorded.sandbox, *RECEIPT, *how) for how in ((str(valid), *foreign), (str(broken),), ("none",))]

    assert (0, True, 2) == (code, facts["valid"], len(facts["replies"]))
    assert [21, 2, 2] == [code for code, _ in refused]
    assert [["error", "reason", "layer", "address", "fields"]] * 3 == [list(facts)[:5] for _, facts in refused]
