"""The ledger: every inquiry in one line, every commit sealed in one signed block, every block chained to all before."""

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    Connection,
    Dialect,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    func,
    insert,
    literal,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from estelam import receipt
from estelam.clock import Clock
from estelam.errors import Reason
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.keys import Keyring, Signer
from estelam.vocabulary import Inquiry, Outcome, Subject

LEDGER = MetaData(schema="ledger")
SUBJECT_COLUMNS = ("subject_1", "subject_2", "subject_3")
GENESIS = bytes(32)

# Keyed hashes are random: one index over all of them would touch a far page for each, ever more as the ledger grows.
# They are indexed by shelf, a run of consecutive entries, so that writing stays on the few pages of the newest shelf.
SHELF_ENTRIES = 2048
_SHELF = literal_column(f"entry.sequence / {SHELF_ENTRIES}", BigInteger)

entry_table = Table(
    "entry",
    LEDGER,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("inquiry_id", LargeBinary, nullable=False),
    Column("answered_at_micros", BigInteger, nullable=False),
    Column("caller", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("subject_key_id", Text, nullable=False),
    *(Column(name, LargeBinary) for name in SUBJECT_COLUMNS),
    Column("question", LargeBinary, nullable=False),
    Column("agency", Text, nullable=False),
    Column("correlation", LargeBinary, nullable=False),
    Column("case_reference", LargeBinary, nullable=False),
    Column("operator", LargeBinary, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("latency_micros", BigInteger, nullable=False),
    Column("commitment", LargeBinary, nullable=False),
)

block_table = Table(
    "block",
    LEDGER,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    Column("sealed_at_micros", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)


def _as_stored(table: Table) -> Select[*tuple[Any, ...]]:
    """All rows of *table*, by its key, as the driver gives them: no value is made to fit its column."""
    columns = [type_coerce(column, NullType()).label(column.name) for column in table.columns]
    return select(*columns).order_by(*table.primary_key)


_INSERT_BLOCK = insert(block_table)
_STORED_BLOCKS, _STORED_ENTRIES = _as_stored(block_table), _as_stored(entry_table)
_LAST_BLOCK = select(block_table).order_by(block_table.c.number.desc()).limit(1)
_KINDS: Mapping[type[Any], type] = {BigInteger: int, Text: str, LargeBinary: bytes}
_WIRE_OUTCOME: Mapping[str, pb.Outcome.ValueType] = {
    Outcome.YES: pb.OUTCOME_YES,
    Outcome.NO: pb.OUTCOME_NO,
    Outcome.DISCLOSED: pb.OUTCOME_DISCLOSED,
}


@dataclass(frozen=True, slots=True)
class Line:
    """What is to be written down of one inquiry: what became of it and, after an answer, the reply without receipt."""

    inquiry: Inquiry
    outcome: Outcome | Reason
    reply: Message | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain; published, it proves later that nothing was cut off."""

    number: int
    hash: bytes
    entries: int

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


class EntryRow(NamedTuple):
    """One row of the entry table, in the order of its columns."""

    sequence: int
    inquiry_id: bytes
    answered_at_micros: int
    caller: str
    method: str
    subject_key_id: str
    subject_1: bytes | None
    subject_2: bytes | None
    subject_3: bytes | None
    question: bytes
    agency: str
    correlation: bytes
    case_reference: bytes
    operator: bytes
    outcome: str
    latency_micros: int
    commitment: bytes


class Ledger:
    """Appends to one chain, inside a transaction given to it."""

    def __init__(self, *, keyring: Keyring, signer: Signer, clock: Clock) -> None:
        self._keyring = keyring
        self._signer = signer
        self._clock = clock

    def append(self, connection: Connection, lines: Sequence[Line]) -> list[pb.Receipt]:
        """Write *lines* as entries, seal them in one block, and return each one's receipt, in order."""
        head = _header(last) if (last := connection.execute(_LAST_BLOCK).first()) else None
        first = head.first_sequence + head.entry_count if head else 1
        micros, monotonic = self._clock.micros(), self._clock.monotonic()
        salts = [secrets.token_bytes(16) for _ in lines]
        rows = [
            self._row(sequence, line, salt, micros, monotonic)
            for sequence, (line, salt) in enumerate(zip(lines, salts, strict=True), start=first)
        ]
        entries = [_entry_bytes(row) for row in rows]
        levels = receipt.merkle_levels([receipt.leaf_hash(entry) for entry in entries])
        header = pb.BlockHeader(
            number=head.number + 1 if head else 1,
            previous_hash=hashlib.sha256(receipt.canonical(head)).digest() if head else GENESIS,
            merkle_root=levels[-1][0],
            first_sequence=first,
            entry_count=len(entries),
            sealed_at_micros=micros,
            key_id=self._signer.key_id,
        )
        sealed = receipt.canonical(header)
        signature = self._signer.key.sign(receipt.SIGNING_CONTEXT + sealed)
        connection.exec_driver_sql(_insert_entry(connection.dialect), rows)
        connection.execute(_INSERT_BLOCK, _block_row(header, signature))
        answered_at = Timestamp()
        answered_at.FromMicroseconds(micros)
        return [
            pb.Receipt(
                inquiry_id=str(line.inquiry.id),
                answered_at=answered_at,
                entry=entry,
                salt=salt,
                merkle_path=receipt.merkle_path(levels, index),
                block_header=sealed,
                signature=signature,
            )
            for index, (line, entry, salt) in enumerate(zip(lines, entries, salts, strict=True))
        ]

    def _row(self, sequence: int, line: Line, salt: bytes, micros: int, monotonic: float) -> EntryRow:
        inquiry, hashed = line.inquiry, self._keyring.hash
        method, purpose = inquiry.method, inquiry.purpose
        asked = inquiry.request is not None
        request = receipt.canonical(inquiry.request) if asked else b""
        subjects = [hashed(subject) for subject in method.subjects(inquiry.request)] if asked else []
        first, second, third, *_ = *subjects, None, None, None
        return EntryRow(
            sequence,
            inquiry.id.bytes,
            micros,
            inquiry.caller.organization_id,
            method.name,
            self._keyring.current,
            first,
            second,
            third,
            hashed(Subject(method.name, request.hex())) if asked else b"",
            # What was refused as an agency may be anything, a person's id too: only one that was accepted stands here.
            method.agency(inquiry.request) if line.reply else "",
            hashed(Subject("correlation", purpose.correlation)) if purpose.correlation else b"",
            hashed(Subject("case", purpose.case_reference)) if purpose.case_reference else b"",
            hashed(Subject("operator", purpose.operator)) if purpose.operator else b"",
            line.outcome.value,
            min(max(int((monotonic - inquiry.arrived) * 1e6), 0), 2**32 - 1),
            receipt.commitment(salt, request, receipt.canonical(line.reply)) if line.reply else b"",
        )


@cache
def _insert_entry(dialect: Dialect) -> str:
    """The driver's own statement for one `EntryRow`: building named parameters anew for each would double its cost."""
    return str(insert(entry_table).compile(dialect=dialect))


def _entry_bytes(row: EntryRow) -> bytes:
    outcome = row.outcome
    return receipt.canonical(
        pb.Entry(
            sequence=row.sequence,
            inquiry_id=row.inquiry_id,
            answered_at_micros=row.answered_at_micros,
            caller=row.caller,
            method=row.method,
            subject_key_id=row.subject_key_id,
            subjects=[keyed for keyed in (row.subject_1, row.subject_2, row.subject_3) if keyed is not None],
            question=row.question,
            agency=row.agency,
            correlation=row.correlation,
            case_reference=row.case_reference,
            operator=row.operator,
            outcome=_WIRE_OUTCOME.get(outcome, pb.OUTCOME_REFUSED),
            refusal="" if outcome in _WIRE_OUTCOME else outcome,
            latency_micros=row.latency_micros,
            commitment=row.commitment,
        )
    )


def _block_row(header: pb.BlockHeader, signature: bytes) -> dict[str, Any]:
    return {field.name: getattr(header, field.name) for field in header.DESCRIPTOR.fields} | {"signature": signature}


def _header(row: Row[*tuple[Any, ...]]) -> pb.BlockHeader:
    values = {name: value for name, value in row._mapping.items() if name != "signature"}  # noqa: SLF001 - public API
    return pb.BlockHeader(**values)


class BrokenLedger(Exception):  # noqa: N818 - reads as what it is
    """The chain does not hold; the text says where and how."""


def verify(connection: Connection, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Head]:
    """Walk the whole chain, yielding the head after each block.

    Found are: any entry or block changed, missing, added or reordered. The last head yielded must be compared with one
    published earlier to find that the end was cut off.

    Raises:
        BrokenLedger: at the first fault.
    """
    try:
        yield from _walk(connection, keys)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise BrokenLedger("a value can't be read") from None


def _walk(connection: Connection, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Head]:
    entries = iter(connection.execution_options(yield_per=1000).execute(_STORED_ENTRIES))
    previous, sequence = GENESIS, 1
    for number, row in enumerate(connection.execute(_STORED_BLOCKS), start=1):
        try:
            _check_kinds(block_table, row)
            header = _header(row)
            _check_block(header, row.signature, number, sequence, previous, keys)
            leaves = [receipt.leaf_hash(_stored_bytes(entry)) for entry in islice(entries, header.entry_count)]
        except (TypeError, ValueError, receipt.InvalidReceipt) as error:
            raise BrokenLedger(f"block {number}: {_words(error)}") from None
        if len(leaves) != header.entry_count or receipt.merkle_levels(leaves)[-1][0] != header.merkle_root:
            raise BrokenLedger(f"block {number}: its entries, from {sequence} on, are not those that were sealed")
        previous = hashlib.sha256(receipt.canonical(header)).digest()
        sequence += header.entry_count
        yield Head(number, previous, sequence - 1)
    if next(entries, None) is not None:
        raise BrokenLedger(f"entry {sequence}: it and what follows lie in no block")


def _check_kinds(table: Table, row: Row[*tuple[Any, ...]]) -> None:
    # SQLite keeps a value of any kind in any column, and protobuf takes bytes for text: the seal alone misses that.
    for column, value in zip(table.columns, row, strict=True):
        if type(value) is not _KINDS[type(column.type)] and not (value is None and column.nullable):
            raise receipt.InvalidReceipt("a value is not of its column's kind")


def _stored_bytes(row: Row[*tuple[Any, ...]]) -> bytes:
    _check_kinds(entry_table, row)
    entry = EntryRow(*row)
    # The sealed list of subjects has no gaps, so it can't tell in which columns they stood.
    subjects = (entry.subject_1, entry.subject_2, entry.subject_3)
    if any(before is None and subject is not None for before, subject in pairwise(subjects)):
        raise receipt.InvalidReceipt("a subject stands in another column")
    return _entry_bytes(entry)


def _check_block(
    header: pb.BlockHeader,
    signature: bytes,
    number: int,
    sequence: int,
    previous: bytes,
    keys: Mapping[str, Ed25519PublicKey],
) -> None:
    if header.number != number or header.first_sequence != sequence or header.entry_count < 1:
        raise receipt.InvalidReceipt("a block or an entry is missing or out of order before it")
    if header.previous_hash != previous:
        raise receipt.InvalidReceipt("it does not follow from the block before it")
    receipt.check_signature(receipt.canonical(header), header.key_id, signature, keys)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, receipt.InvalidReceipt) else "a value is damaged"


def recently_confirmed(
    connection: Connection, *, method: str, asked: Collection[tuple[str, bytes]], since_micros: int
) -> set[tuple[str, bytes]]:
    """Those of *asked* (caller, first subject's keyed hash) that *method* answered YES at or after *since_micros*."""
    columns = entry_table.c
    first = connection.execute(
        select(block_table.c.first_sequence)
        .where(block_table.c.sealed_at_micros >= since_micros)
        .order_by(block_table.c.sealed_at_micros)
        .limit(1)
    ).scalar()
    if first is None:
        return set()
    shelves = _shelves(first)
    query = (
        select(columns.caller, columns.subject_1)
        .join_from(shelves, entry_table, shelves.c.number == _SHELF)
        .where(columns.subject_1.in_({subject for _, subject in asked}))
        .where(columns.method == method, columns.outcome == Outcome.YES.value)
        .where(columns.answered_at_micros >= since_micros)
        .distinct()
    )
    return {(row.caller, row.subject_1) for row in connection.execute(query)} & set(asked)


def who_asked(connection: Connection, keyring: Keyring, subject: Subject) -> list[Row[*tuple[Any, ...]]]:
    """Every entry about *subject*, oldest first, under any key of the ring."""
    hashes = keyring.all_hashes(subject)
    shelves = _shelves(1)
    found = [
        row
        for name in SUBJECT_COLUMNS
        for row in connection.execute(
            select(entry_table)
            .join_from(shelves, entry_table, shelves.c.number == _SHELF)
            .where(entry_table.c[name].in_(hashes))
        )
    ]
    return sorted(found, key=attrgetter("sequence"))


def _shelves(first: int) -> CTE:
    """The numbers of all shelves from that of entry *first* to the newest."""
    last = select(func.coalesce(func.max(entry_table.c.sequence), 0) / SHELF_ENTRIES).scalar_subquery()
    shelf = select(literal(first // SHELF_ENTRIES).label("number")).cte("shelf", recursive=True)
    return shelf.union_all(select(shelf.c.number + 1).where(shelf.c.number < last))
