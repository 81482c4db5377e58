"""Tables of the ledger, the rows they hold, and the index keys by which entries are found.

An entry is stored as the exact bytes that its block commits to. Beside it stand its index keys, 8 bytes each as a
number: one for each keyed subject, and for a YES one by which its caller's confirmation of the same question is found
(`estelam.ledger.search`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from struct import Struct
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, LargeBinary, MetaData, Row, Table, Text, func, select

from estelam.core.clock import to_datetime
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.receipts import receipt
from estelam.storage.base import LEDGER

_METADATA = MetaData(schema=LEDGER)
GENESIS = bytes(32)
"""The previous hash of the first block."""
NOTICES = hashlib.sha256(b"estelam catalogue v1").digest()
"""The subject of every notice of a catalogue change. It is not secret: any reader of the ledger finds the notices."""


class NoteKind(StrEnum):
    """What a note is about; its number is the member of this name in the entry's notice."""

    LOAD = "load"
    RECALL = "recall"


SUBJECTS_OF_NOTES = {
    NoteKind.LOAD: hashlib.sha256(b"estelam loads v1").digest(),
    NoteKind.RECALL: hashlib.sha256(b"estelam recalls v1").digest(),
}
"""The subject of every note of each kind (`estelam.ledger.loads`, `estelam.ledger.recall_runs`)."""
_INDEX_KEY = Struct(">q")
SUBJECT_COLUMNS = ("subject_1", "subject_2", "subject_3")

entry_table = Table(
    "entry",
    _METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
    *(Column(name, BigInteger) for name in SUBJECT_COLUMNS),
    Column("opened", BigInteger),
)

block_table = Table(
    "block",
    _METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("previous_hash", LargeBinary, nullable=False),
    Column("merkle_root", LargeBinary, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("entry_count", BigInteger, nullable=False),
    Column("sealed_at_micros", BigInteger, nullable=False),
    Column("key_id", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
)


# Each HMAC key with the first entry that was written under it and a value that recognizes the key, where recorded.
key_use_table = Table(
    "key_use",
    _METADATA,
    Column("key_id", Text, primary_key=True),
    Column("first_sequence", BigInteger, nullable=False),
    Column("check_value", LargeBinary),
)

# The entries that note a row of the facts, with the row's kind and number.
fact_note_table = Table(
    "fact_note",
    _METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
)

# The entries that a later entry annuls.
annulment_table = Table(
    "annulment",
    _METADATA,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("annulled_by", BigInteger, nullable=False),
)


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
        """Return the row that stores *entry*."""
        return cls(entry.sequence, receipt.canonical(entry), *index_keys(entry))


def index_keys(entry: pb.Entry) -> tuple[int | None, int | None, int | None, int | None]:
    """Return the index keys of *entry*: one for each of up to three subjects, and its confirmation key after a YES."""
    first, second, third, *_ = *[index_key(keyed) for keyed in entry.subjects], None, None, None
    is_yes = entry.outcome == pb.OUTCOME_YES
    return first, second, third, confirmation_key(entry.caller, entry.question) if is_yes else None


class FactNote(NamedTuple):
    """A note of one row of the facts."""

    kind: NoteKind
    number: int
    facts: Mapping[str, Any]
    """The rest of the row; what is None is left out of the notice."""

    @property
    def notice(self) -> str:
        """The row as a JSON object."""
        stated = {name: value for name, value in self.facts.items() if value is not None}
        return json.dumps({self.kind.value: self.number, **stated}, separators=(",", ":"))


def noted_fact(entry: pb.Entry) -> tuple[str, int] | None:
    """Return kind and number of the row that *entry* notes; None if it notes none."""
    if entry.outcome != pb.OUTCOME_NOTED:
        return None
    kind = next((kind.value for kind, subject in SUBJECTS_OF_NOTES.items() if list(entry.subjects) == [subject]), None)
    return None if kind is None else (kind, int(json.loads(entry.notice)[kind]))


def note_entries(connection: Connection, kind: NoteKind) -> Iterator[pb.Entry]:
    """Yield the entries that note rows of *kind*, in the order of the ledger."""
    note = fact_note_table.c
    query = select(entry_table.c.sealed).join(fact_note_table, note.sequence == entry_table.c.sequence)
    for sealed in connection.execute(query.where(note.kind == kind.value).order_by(note.sequence)).scalars():
        yield pb.Entry.FromString(sealed)


def request_subject(method: str, request: bytes) -> Subject:
    """Return the subject whose keyed hash is an entry's `question`: *request*, in canonical bytes, to *method*."""
    return Subject(method, request.hex())


def index_key(keyed: bytes) -> int:
    """Return the index key of a subject's keyed hash: its first 8 bytes. Keys may collide: compare the hashes."""
    return _INDEX_KEY.unpack_from(keyed)[0]  # type: ignore[no-any-return]


def confirmation_key(caller: str, question: bytes) -> int:
    """Return the index key of each YES that *caller* received to *question*, a keyed hash of method and request."""
    return index_key(hashlib.sha256(f"{caller}\0".encode() + question).digest())


def header_of(row: Row[*tuple[Any, ...]]) -> pb.BlockHeader:
    """Return the block header, as it was signed, from a row of the block table."""
    values = {name: value for name, value in row._mapping.items() if name != "signature"}  # noqa: SLF001 - public API
    return pb.BlockHeader(**values)


def last_block_time(connection: Connection) -> datetime:
    """Return the time of the latest block; 1970 if there is none."""
    return to_datetime(connection.execute(select(func.max(block_table.c.sealed_at_micros))).scalar() or 0)
