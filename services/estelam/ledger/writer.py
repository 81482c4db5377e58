"""The ledger: every inquiry in one line, every commit sealed in one signed block, every block chained to all before.

An entry is kept as the very bytes that were sealed. Beside them stand the marks by which it is found
(`estelam.ledger.search`), eight bytes each as a number: of each keyed subject, and of what a yes opens to its caller.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from struct import Struct
from typing import Any, NamedTuple

import uuid_utils
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, Row, Table, Text, func, insert, select

from estelam.core.clock import Clock, to_datetime
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Inquiry, Outcome, Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import receipt
from estelam.storage.base import LEDGER

_TABLES = MetaData(schema=LEDGER)
GENESIS = bytes(32)
NOTICES = hashlib.sha256(b"estelam catalogue v1").digest()
"""What every notice of a change of the catalogue is found by: no secret, so whoever may read the ledger finds it."""
_INDEX_KEY = Struct(">q")
SUBJECT_COLUMNS = ("subject_1", "subject_2", "subject_3")

entry_table = Table(
    "entry",
    _TABLES,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    *(Column(name, BigInteger) for name in SUBJECT_COLUMNS),
    Column("opened", BigInteger),
)

block_table = Table(
    "block",
    _TABLES,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    Column("sealed_at_micros", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)

_INSERT_BLOCK = insert(block_table)
_LAST_BLOCK = select(block_table).order_by(block_table.c.number.desc()).limit(1)
_WIRE_OUTCOME: Mapping[str, pb.Outcome.ValueType] = {
    Outcome.YES: pb.OUTCOME_YES,
    Outcome.NO: pb.OUTCOME_NO,
    Outcome.DISCLOSED: pb.OUTCOME_DISCLOSED,
}


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """What is to be written down of one inquiry: what became of it and, after an answer, the reply without receipt."""

    inquiry: Inquiry
    outcome: Outcome | Reason
    reply: Message | None = None


class EntryRow(NamedTuple):
    """One row of the entry table, in the order of its columns."""

    sequence: int
    sealed: bytes
    subject_1: int | None
    subject_2: int | None
    subject_3: int | None
    opened: int | None

    @classmethod
    def of(cls, entry: pb.Entry) -> "EntryRow":
        """The row that keeps *entry*."""
        return cls(entry.sequence, receipt.canonical(entry), *index_keys(entry))


def index_keys(entry: pb.Entry) -> tuple[int | None, int | None, int | None, int | None]:
    """What *entry* is found by: a mark of each subject, and of what it opened."""
    subjects = list(entry.subjects)
    first, second, third, *_ = *[index_key(keyed) for keyed in subjects], None, None, None
    yes = entry.outcome == pb.OUTCOME_YES and first is not None
    return first, second, third, confirmation_key(entry.method, entry.caller, subjects[0]) if yes else None


def request_subject(method: str, request: bytes) -> Subject:
    """What an entry's question is the keyed hash of: a whole canonical *request* to *method*."""
    return Subject(method, request.hex())


def index_key(keyed: bytes) -> int:
    """The number by which a subject's keyed hash is found; two subjects may share one, so what is found is compared."""
    return _INDEX_KEY.unpack_from(keyed)[0]  # type: ignore[no-any-return]


def confirmation_key(method: str, caller: str, keyed: bytes) -> int:
    """The mark of every yes that *method* gave *caller* about a first subject of that keyed hash."""
    return index_key(hashlib.sha256(f"{method}\0{caller}\0".encode() + keyed).digest())


class _Block(NamedTuple):
    """A sealed block, and what receipts of its entries are made of."""

    rows: list[EntryRow]
    levels: list[list[bytes]]
    header: bytes
    signature: bytes


class LedgerWriter:
    """Appends to one chain, inside a transaction given to it."""

    def __init__(self, *, keyring: HmacKeyring, signer: SigningKey, clock: Clock) -> None:
        self._keyring = keyring
        self._signer = signer
        self._clock = clock

    def append(self, connection: Connection, lines: Sequence[EntryDraft]) -> list[pb.Receipt]:
        """Write *lines* as entries, seal them in one block, and return each one's receipt, in order."""
        micros, monotonic = self._clock.micros(), self._clock.monotonic()
        salts = [secrets.token_bytes(16) for _ in lines]
        entries = [self._entry(line, salt, micros, monotonic) for line, salt in zip(lines, salts, strict=True)]
        block = self._seal(connection, entries, micros)
        answered_at = Timestamp()
        answered_at.FromMicroseconds(micros)
        return [
            pb.Receipt(
                inquiry_id=str(line.inquiry.id),
                answered_at=answered_at,
                entry=row.sealed,
                salt=salt,
                merkle_path=receipt.merkle_path(block.levels, index),
                block_header=block.header,
                signature=block.signature,
            )
            for index, (line, row, salt) in enumerate(zip(lines, block.rows, salts, strict=True))
        ]

    def append_notices(self, connection: Connection, notices: Sequence[str]) -> None:
        """Write *notices* as entries of their own, and seal them in one block."""
        micros = self._clock.micros()
        entries = [
            pb.Entry(
                inquiry_id=uuid_utils.uuid7().bytes,
                answered_at_micros=micros,
                subject_key_id=self._keyring.current,
                subjects=[NOTICES],
                outcome=pb.OUTCOME_NOTED,
                notice=notice,
            )
            for notice in notices
        ]
        self._seal(connection, entries, micros)

    def _seal(self, connection: Connection, entries: Sequence[pb.Entry], micros: int) -> _Block:
        head = header_of(last) if (last := connection.execute(_LAST_BLOCK).first()) else None
        first = head.first_sequence + head.entry_count if head else 1
        for sequence, entry in enumerate(entries, start=first):
            entry.sequence = sequence
        rows = [EntryRow.of(entry) for entry in entries]
        levels = receipt.merkle_levels([receipt.leaf_hash(row.sealed) for row in rows])
        header = pb.BlockHeader(
            number=head.number + 1 if head else 1,
            previous_hash=hashlib.sha256(receipt.canonical(head)).digest() if head else GENESIS,
            merkle_root=levels[-1][0],
            first_sequence=first,
            entry_count=len(rows),
            sealed_at_micros=micros,
            key_id=self._signer.key_id,
        )
        sealed = receipt.canonical(header)
        signature = self._signer.key.sign(receipt.SIGNING_CONTEXT + sealed)
        _insert_entries(connection, rows)
        connection.execute(_INSERT_BLOCK, _block_row(header, signature))
        return _Block(rows, levels, sealed, signature)

    def _entry(self, line: EntryDraft, salt: bytes, micros: int, monotonic: float) -> pb.Entry:
        inquiry, hashed = line.inquiry, self._keyring.hash
        method, purpose = inquiry.method, inquiry.purpose
        asked = inquiry.request is not None
        request = receipt.canonical(inquiry.request) if asked else b""
        outcome = _WIRE_OUTCOME.get(line.outcome, pb.OUTCOME_REFUSED)
        return pb.Entry(
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros,
            caller=inquiry.caller.organization_id,
            method=method.name,
            subject_key_id=self._keyring.current,
            subjects=[hashed(subject) for subject in method.subjects(inquiry.request)] if asked else [],
            question=hashed(request_subject(method.name, request)) if asked else b"",
            # What was refused as an agency may be anything, a person's id too: only one that was accepted stands here.
            agency=method.agency(inquiry.request) if line.reply else "",
            correlation=hashed(Subject("correlation", purpose.correlation)) if purpose.correlation else b"",
            case_reference=hashed(Subject("case", purpose.case_reference)) if purpose.case_reference else b"",
            operator=hashed(Subject("operator", purpose.operator)) if purpose.operator else b"",
            outcome=outcome,
            refusal="" if outcome != pb.OUTCOME_REFUSED else line.outcome.value,
            latency_micros=min(max(int((monotonic - inquiry.received_at) * 1e6), 0), 2**32 - 1),
            commitment=receipt.commitment(salt, request, receipt.canonical(line.reply)) if line.reply else b"",
        )


def last_block_time(connection: Connection) -> datetime:
    """The latest instant that a block bears; 1970 where there is none."""
    return to_datetime(connection.execute(select(func.max(block_table.c.sealed_at_micros))).scalar() or 0)


# The driver's own statements: building named parameters anew for each row would double its cost.
_COLUMNS = ", ".join(EntryRow._fields)
_INSERT_ROWS = f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_INSERT_ARRAYS = (
    f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) SELECT * FROM"  # noqa: S608 - constants
    " unnest(%b::bigint[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])"
)


def _insert_entries(connection: Connection, rows: Sequence[EntryRow]) -> None:
    if connection.dialect.name == "postgresql":
        # One statement for all: half the work of one for each, on either side.
        connection.exec_driver_sql(_INSERT_ARRAYS, tuple(map(list, zip(*rows, strict=True))))
    else:
        connection.exec_driver_sql(_INSERT_ROWS, rows)


def _block_row(header: pb.BlockHeader, signature: bytes) -> dict[str, Any]:
    return {field.name: getattr(header, field.name) for field in header.DESCRIPTOR.fields} | {"signature": signature}


def header_of(row: Row[*tuple[Any, ...]]) -> pb.BlockHeader:
    """The header that a row of the block table was sealed as."""
    values = {name: value for name, value in row._mapping.items() if name != "signature"}  # noqa: SLF001 - public API
    return pb.BlockHeader(**values)
