"""Promise 3: whatever is changed in the ledger, in a kept reply or in its receipt, the check finds it."""
# ruff: noqa: S608 - an intruder writes statements as he likes; all names here are the tables' own

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from itertools import combinations, permutations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import Connection, StaticPool, Table, create_engine
from typer.testing import CliRunner

from estelam.cli import application
from estelam.client.channel import ClientIdentity
from estelam.core.keys import key_id
from estelam.inquiry.v1.inquiry_pb2 import (
    ANSWER_NO,
    ANSWER_UNSPECIFIED,
    ANSWER_YES,
    BlockHeader,
    Entry,
    Outcome,
    Receipt,
)
from estelam.ledger import verify
from estelam.ledger.tables import SUBJECT_COLUMNS, block_table, entry_table
from estelam.ledger.verify import LedgerCorruptError
from estelam.promissory.v1.note_inquiry_pb2_grpc import PromissoryNoteInquiryServiceStub
from estelam.receipts import receipt
from estelam.receipts.archive import ReceiptRecord, read_archive, write_archive
from estelam.receipts.receipt import SIGNING_CONTEXT
from tests.conftest import plain_channel, promissory_opening
from tests.guarantees.recorded_ledger import YES, Office, receipt_of
from tests.support.service import RunningService
from tools.env.sandbox import CHECK_NOTE, VERIFY_NOTE, Sandbox

Row = dict[str, Any]
Change = tuple[str, tuple[Any, ...]]

LEDGER = ("ledger", "verify", "promissory")
RECEIPT = ("receipt", "verify")

each_table = pytest.mark.parametrize("table", [entry_table, block_table], ids=["entry", "block"])


class AsText(bytes):
    """Bytes that are put into a column as text, be they text or not."""


class Intruder:
    """Who can write what he likes into the ledger's tables, and takes it back after each look at the check."""

    def __init__(self, connection: Connection, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._connection = connection
        # They remember which signatures they found good, for thousands of walks over one chain.
        self._keys: Any = {name: SimpleNamespace(verify=cache(key.verify)) for name, key in keys.items()}

    def rows(self, table: Table) -> list[Row]:
        found = self._connection.exec_driver_sql(f"SELECT rowid, * FROM {table} ORDER BY 2").mappings()
        return [dict(row) for row in found]

    def walk(self) -> list[verify.Head]:
        return list(verify.verify_ledger(self._connection, self._keys))

    def unseen(self, changes: Iterable[Sequence[Change]]) -> list[Sequence[Change]]:
        """Those of *changes*, each made of statements that go together, which the check does not find."""
        tried = list(changes)
        assert tried
        return [change for change in tried if self._goes_through(change)]

    def _goes_through(self, change: Sequence[Change]) -> bool:
        self._connection.exec_driver_sql("BEGIN")
        try:
            for statement, values in change:
                self._connection.exec_driver_sql(statement, values)
            self.walk()
        except LedgerCorruptError:
            return False
        else:
            return True
        finally:
            self._connection.exec_driver_sql("ROLLBACK")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("tampering") / "suite")


@pytest.fixture(scope="module")
def intruder(office: Office) -> Iterator[Intruder]:
    """At work on a copy in tables without types and constraints: no schema binds him."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"isolation_level": None})
    with engine.connect() as connection:
        connection.exec_driver_sql("ATTACH ':memory:' AS ledger")
        connection.exec_driver_sql("ATTACH ? AS kept", (str(office.sandbox.folder / "promissory" / "ledger.db"),))
        for table in (entry_table, block_table):
            connection.exec_driver_sql(f"CREATE TABLE {table} ({', '.join(columns_of(table))})")
            connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM kept.{table.name}")
        yield Intruder(connection, office.keys)
    engine.dispose()


def columns_of(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def put(table: Table, row: Row, values: Mapping[str, Any]) -> Change:
    """Other *values* in *row*."""
    places = (f"{name} = {'CAST(? AS TEXT)' if isinstance(v, AsText) else '?'}" for name, v in values.items())
    return f"UPDATE {table} SET {', '.join(places)} WHERE rowid = ?", (*values.values(), row["rowid"])


def added(table: Table, row: Row, **changes: Any) -> Change:
    """A row more, like *row* but for *changes*."""
    names = columns_of(table)
    values = tuple((row | changes)[name] for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", values


def others(value: Any, *, every_byte: bool) -> Iterator[Any]:
    """Values that are not *value*: other bits, other lengths, nothing, and the same as another type."""
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


def test_the_ledger_to_be_tampered_with_holds_and_has_entries_of_every_sort(intruder: Intruder) -> None:
    entries = [Entry.FromString(row["sealed"]) for row in intruder.rows(entry_table)]
    outcomes = {entry.refusal or Outcome.Name(entry.outcome) for entry in entries}
    sizes = [row["entry_count"] for row in intruder.rows(block_table)]

    assert outcomes >= {
        "OUTCOME_YES",
        "OUTCOME_NO",
        "OUTCOME_DISCLOSED",
        "NOT_GRANTED",
        "FIELD_INVALID",
        "AGENCY_NOT_MEMBER",
    }
    assert (len(sizes), 24) == (len(intruder.walk()), sum(sizes))
    assert min(len(sizes), max(sizes)) >= 4


@each_table
def test_any_other_value_in_any_column_of_any_row_is_found(intruder: Intruder, table: Table) -> None:
    changes = (
        [put(table, row, {column: value})]
        for row in intruder.rows(table)
        for column in columns_of(table)
        for turn, value in enumerate(others(row[column], every_byte=row["rowid"] == 2))
        # All of them in one row, by turns in the others: each is a walk over the whole chain.
        if row["rowid"] == 2 or (row["rowid"] + turn) % 3 == 0
    )

    assert [] == intruder.unseen(changes)


def test_subjects_that_change_columns_are_found(intruder: Intruder) -> None:
    changes = (
        [put(entry_table, row, dict(zip(SUBJECT_COLUMNS, moved, strict=True)))]
        for row in intruder.rows(entry_table)
        for stood in [tuple(row[name] for name in SUBJECT_COLUMNS)]
        for moved in set(permutations(stood)) - {stood}
    )

    assert [] == intruder.unseen(changes)


@each_table
def test_a_row_that_is_gone_or_stands_twice_is_found(intruder: Intruder, table: Table) -> None:
    rows = intruder.rows(table)

    assert [] == intruder.unseen([(f"DELETE FROM {table} WHERE rowid = ?", (row["rowid"],))] for row in rows)
    assert [] == intruder.unseen([added(table, row)] for row in rows)


@each_table
def test_any_two_rows_that_change_places_are_found(intruder: Intruder, table: Table) -> None:
    names = columns_of(table)[1:]  # all but the key
    pairs = combinations(intruder.rows(table), 2)

    assert [] == intruder.unseen(
        [put(table, one, {n: other[n] for n in names}), put(table, other, {n: one[n] for n in names})]
        for one, other in pairs
    )


def test_a_forged_row_is_found_wherever_it_is_put(intruder: Intruder) -> None:
    entries, blocks = intruder.rows(entry_table), intruder.rows(block_table)
    places = [0, -1, 0.5, 3.5, "1", b"1", len(blocks) + 1, len(entries) + 1, len(entries) + 1.5, None]
    other = Entry.FromString(entries[1]["sealed"])
    other.caller = "99000079195"
    sealed = other.SerializeToString(deterministic=True)
    forged = [[added(entry_table, entries[1], sequence=place, sealed=sealed)] for place in places]
    forged += [[added(block_table, blocks[-1], number=place)] for place in places]
    empty = {"number": len(blocks) + 1, "first_sequence": len(entries) + 1, "entry_count": 0}
    forged.append([added(block_table, blocks[-1], **empty)])
    forged.append([put(block_table, blocks[0], {"previous_hash": 32})])  # bytes(32) is what the first block's should be

    assert [] == intruder.unseen(forged)


@pytest.fixture
def burgled(office: Office, tmp_path: Path) -> Sandbox:
    """A copy of the office's suite, for changes that stay."""
    shutil.copytree(office.sandbox.folder, tmp_path / "burgled")
    return Sandbox(tmp_path / "burgled")


def cut(sandbox: Sandbox, block: int) -> None:
    """Take *block*, all that follow it, and their entries away."""
    with contextlib.closing(sqlite3.connect(sandbox.folder / "promissory" / "ledger.db")) as connection, connection:
        (first,) = connection.execute("SELECT first_sequence FROM block WHERE number = ?", (block,)).fetchone()
        connection.execute("DELETE FROM entry WHERE sequence >= ?", (first,))
        connection.execute("DELETE FROM block WHERE number >= ?", (block,))


def run(sandbox: Sandbox, *arguments: str) -> tuple[int, Row]:
    """The exit code of a command and what it says."""
    result = CliRunner().invoke(application(), [*arguments, "--json"], env=dict(sandbox.environ))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, json.loads(result.stdout)


def test_an_end_that_was_cut_off_is_found_against_a_published_head(burgled: Sandbox) -> None:
    code, published = run(burgled, *LEDGER)
    seen = []
    for block in range(published["blocks"], 0, -1):
        cut(burgled, block)
        seen.append((run(burgled, *LEDGER)[0], run(burgled, *LEDGER, "--head", published["head"])[0]))

    assert 0 == code
    assert [(0, 1)] * published["blocks"] == seen


def test_an_end_written_anew_with_the_services_own_key_is_found_against_a_published_head(burgled: Sandbox) -> None:
    _, published = run(burgled, *LEDGER)
    cut(burgled, published["blocks"])
    with (
        RunningService(promissory_opening(burgled, shutdown_delay_seconds=0)) as service,
        plain_channel(service.address, ClientIdentity.named(burgled.pki, "setad")) as channel,
    ):
        for _ in range(3):
            PromissoryNoteInquiryServiceStub(channel).CheckNote(YES, timeout=10)
    alone, against = run(burgled, *LEDGER), run(burgled, *LEDGER, "--head", published["head"])

    assert (0, published["blocks"] + 2) == (alone[0], alone[1]["blocks"])
    assert (1, True) == (against[0], "Verification failed" in against[1]["error"])


def test_a_head_published_earlier_stays_true_as_the_ledger_grows(office: Office, intruder: Intruder) -> None:
    assert all(run(office.sandbox, *LEDGER, "--head", str(head))[0] == 0 for head in intruder.walk())


def proven(file: Path, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    try:
        return all(receipt.verify(kept.method, kept.request, kept.reply, keys) for kept in read_archive(file))
    except receipt.InvalidReceipt:
        return False


def test_any_byte_of_a_saved_file_that_changes_and_any_missing_end_is_found(office: Office, tmp_path: Path) -> None:
    file = tmp_path / "reply"
    write_archive(file, [office.kept(ANSWER_YES)])
    whole = file.read_bytes()
    masks = (0x01, 0x07, 0x80)  # the second makes another kind of line's end
    others = [*flips(whole, masks, range(len(whole))), *(whole[:end] for end in range(len(whole)))]

    assert [] == [other for other in others if file.write_bytes(other) >= 0 and proven(file, office.keys)]


Alter = Callable[[Any, Any, Any, Any], object]
MORE = b"\xf8\x07\x01"  # a field that nobody knows
THIEF = Ed25519PrivateKey.generate()


def lend(*names: str) -> Alter:
    return lambda receipt, _p, _q, other: receipt.MergeFrom(Receipt(**{name: getattr(other, name) for name in names}))


def later(receipt: Any, nanos: int, seconds: int = 0) -> None:
    receipt.answered_at.nanos += nanos
    receipt.answered_at.seconds += seconds


def reseal(receipt: Any, name: str | None = None) -> None:
    header = BlockHeader.FromString(receipt.block_header)
    header.key_id = name or header.key_id
    receipt.block_header = header.SerializeToString(deterministic=True)
    receipt.signature = THIEF.sign(SIGNING_CONTEXT + receipt.block_header)


ALTERATIONS: dict[str, Alter] = {
    "the answer turned": lambda _r, reply, *_: setattr(reply, "answer", 3 - reply.answer),
    "a reply with more to it": lambda _r, reply, *_: reply.MergeFromString(MORE),
    "another amount": lambda _r, _reply, request, _o: setattr(request, "amount_rials", 7),
    "a request with more to it": lambda _r, _reply, request, _o: request.MergeFromString(MORE),
    "another reply's receipt": lambda receipt, _reply, _request, other: receipt.CopyFrom(other),
    "no receipt": lambda _r, reply, *_: reply.ClearField("receipt"),
    "a receipt with more to it": lambda receipt, *_: receipt.MergeFromString(MORE),
    "a time with more to it": lambda receipt, *_: receipt.answered_at.MergeFromString(MORE),
    "a nanosecond later": lambda receipt, *_: later(receipt, 1),
    "a microsecond later": lambda receipt, *_: later(receipt, 1000),
    "a time out of form": lambda receipt, *_: later(receipt, 10**9, -1),
    "another's entry and salt": lend("entry", "salt"),
    "another's block": lend("block_header", "signature"),
    "another's signature": lend("signature"),
    "another's inquiry id": lend("inquiry_id"),
    "an entry with more to it": lambda receipt, *_: setattr(receipt, "entry", receipt.entry + MORE),
    "a block with more to it": lambda receipt, *_: setattr(receipt, "block_header", receipt.block_header + MORE),
    "a shorter path": lambda receipt, *_: receipt.merkle_path.pop(),
    "a longer path": lambda receipt, *_: receipt.merkle_path.append(bytes(32)),
    "a path turned round": lambda receipt, *_: receipt.merkle_path.reverse(),
    "a thief's seal under the thief's name": lambda receipt, *_: reseal(receipt, key_id(THIEF.public_key())),
    "a thief's seal under the service's name": lambda receipt, *_: reseal(receipt),
}


@pytest.mark.parametrize("said", [ANSWER_YES, ANSWER_NO], ids=["YES", "NO"])
@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_any_altered_part_of_a_kept_reply_is_found(office: Office, tmp_path: Path, alteration: str, said: int) -> None:
    kept = office.kept(said)
    other = receipt_of(office.kept(3 - said, outside=receipt_of(kept).block_header))
    altered: Any = deepcopy(kept)
    ALTERATIONS[alteration](altered.reply.receipt, altered.reply, altered.request, other)
    for name, item in {"kept": kept, "altered": altered}.items():
        write_archive(tmp_path / name, [item])

    assert [True, False] == [proven(tmp_path / name, office.keys) for name in ("kept", "altered")]


def test_a_changed_name_of_a_party_or_another_method_is_found(office: Office, tmp_path: Path) -> None:
    told: Any = office.kept(ANSWER_UNSPECIFIED)
    renamed, methods = deepcopy(told), (CHECK_NOTE, VERIFY_NOTE, "grpc.health.v1.Health/Check")
    renamed.reply.obligor.full_name += " "
    for altered in (renamed, *(ReceiptRecord(method, told.request, told.reply) for method in methods)):
        write_archive(tmp_path / "altered", [altered])

        assert not proven(tmp_path / "altered", office.keys)


def test_the_command_calls_proven_only_what_is(office: Office, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    write_archive(whole, [office.kept(ANSWER_YES), office.kept(ANSWER_UNSPECIFIED)])
    broken.write_bytes(whole.read_bytes().replace(b"\n", b"\r\n"))
    foreign = ("--certificate", str(office.sandbox.pki / "judiciary-receipts.crt"))
    code, facts = run(office.sandbox, *RECEIPT, str(whole))
    refused = [run(office.sandbox, *RECEIPT, *how) for how in ((str(whole), *foreign), (str(broken),), ("none",))]

    assert (0, True, 2) == (code, facts["valid"], len(facts["replies"]))
    assert [(1, ["error"])] * 3 == [(code, list(facts)) for code, facts in refused]
