"""Tables of the ledger, the rows they hold, and the index keys by which entries are found.

An entry is stored as the exact bytes of its leaf in the ledger's tree. Beside it stand the exact bytes of its search
keys, to which it commits, and its index keys, 8 bytes each as a number: one for each keyed subject.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from struct import Struct
from struct import error as StructError  # noqa: N812 - its own name says nothing
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    bindparam,
    func,
    select,
)

from estelam.core.clock import to_datetime
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.errors import LedgerCorruptError
from estelam.receipts import receipt
from estelam.receipts.problems import END_OF_TIME
from estelam.storage.base import LEDGER
from estelam.storage.statements import Statement

_METADATA = MetaData(schema=LEDGER)
NOTICES = hashlib.sha256(b"estelam catalogue v1").digest()
"""The subject of every notice of a catalogue change. It is not secret: any reader of the ledger finds the notices."""


class NoteKind(StrEnum):
    """What a note is about; its number is the member of this name in the entry's notice."""

    LOAD = "load"
    RECALL = "recall"
    RESTORE = "restore"
    KEY_DESTRUCTION = "key_destruction"


SUBJECTS_OF_NOTES = {
    NoteKind.LOAD: hashlib.sha256(b"estelam loads v1").digest(),
    NoteKind.RECALL: hashlib.sha256(b"estelam recalls v1").digest(),
    NoteKind.RESTORE: hashlib.sha256(b"estelam restores v1").digest(),
    NoteKind.KEY_DESTRUCTION: hashlib.sha256(b"estelam key destructions v1").digest(),
}
"""The subject of every note of each kind (`estelam.ledger.loads`, `.recall_runs`, `.restores`,
`.key_destructions`)."""
_INDEX_KEY = Struct(">q")
SUBJECT_COLUMNS = ("subject_1", "subject_2", "subject_3")

# On SQLite an INTEGER key is the row's own, without an index beside the table.
_KEY = BigInteger().with_variant(Integer(), "sqlite")

entry_table = Table(
    "entry",
    _METADATA,
    Column("index", _KEY, primary_key=True, autoincrement=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("search_keys", LargeBinary, nullable=False),
    *(Column(name, BigInteger) for name in SUBJECT_COLUMNS),
)

# The state of the ledger after each commit: the signed note, and the tree as far as appending needs it. The note states
# no time: that of signing is the time of the commit's entries.
checkpoint_table = Table(
    "checkpoint",
    _METADATA,
    Column("size", _KEY, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("signed_at_micros", BigInteger, nullable=False),
)

# The cosignatures that witnesses returned, as lines of the note of the checkpoint of this size.
cosignature_table = Table(
    "cosignature",
    _METADATA,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("witness", Text, primary_key=True),
    Column("line", Text, nullable=False),
)

# The complete nodes of every eighth level of the tree, from the eighth on: a proof reads some hundred of each level,
# and of entries, however long the ledger is.
NODE_LEVELS = range(8, 64, 8)
node_table = Table(
    "node",
    _METADATA,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)


# Each HMAC key with the first entry that was written under it and a value that recognizes the key, where recorded.
key_use_table = Table(
    "key_use",
    _METADATA,
    Column("key_id", Text, primary_key=True),
    Column("first_index", BigInteger, nullable=False),
    Column("check_value", LargeBinary, nullable=False),
)

# The entries that note a row of the facts, with the row's kind and number, and a load's hash.
fact_note_table = Table(
    "fact_note",
    _METADATA,
    Column("index", _KEY, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("sha256", Text),
)

# The entries that a later entry annuls.
annulment_table = Table(
    "annulment",
    _METADATA,
    Column("index", _KEY, primary_key=True, autoincrement=False),
    Column("annulled_by", BigInteger, nullable=False, index=True),
)

# The entries that are archived: in files, and no longer in the store (`estelam.ledger.archives`).
archive_table = Table(
    "archive",
    _METADATA,
    Column("first_index", _KEY, primary_key=True, autoincrement=False),
    Column("end_index", BigInteger, nullable=False),
    Column("archived_at_micros", BigInteger, nullable=False),
)

# Each YES that is neither annulled nor too old, by a key of its caller and question (`estelam.ledger.confirmations`).
confirmation_table = Table(
    "confirmation",
    _METADATA,
    Column("index", _KEY, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("confirmed_at_micros", BigInteger, nullable=False),
)

# Each change of an answer, numbered for each caller from 1 without gaps (`estelam.ledger.answer_changes`): the index of
# the answer's entry, what was answered and what would be answered since, and why.
answer_change_table = Table(
    "answer_change",
    _METADATA,
    Column("caller", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, nullable=False, index=True),
    Column("inquiry_id", LargeBinary, nullable=False),
    Column("then_state", SmallInteger, nullable=False),
    Column("now_state", SmallInteger, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("load_number", BigInteger, nullable=False),
    Column("as_of_micros", BigInteger, nullable=False),
)

# Each completed comparison of all answers with the facts, by the entry that notes the newest load in them: that load,
# and the first entry of those that were compared completely.
answer_comparison_table = Table(
    "answer_comparison",
    _METADATA,
    Column("through_index", _KEY, primary_key=True, autoincrement=False),
    Column("first_index", BigInteger, nullable=False),
    Column("load_number", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
)

# The last change that each caller with a webhook was notified of, one row for each notification that it took.
change_notice_table = Table(
    "change_notice",
    _METADATA,
    Column("caller", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
)


@dataclass(slots=True)  # not frozen: that would triple the cost of making one, for every entry of a ledger
class StoredEntry:
    """An entry with its place in the ledger and the keys by which it is found."""

    index: int
    leaf: bytes
    """The entry as it was serialized."""
    entry: pb.Entry
    keys: pb.SearchKeys

    @classmethod
    def parse(cls, index: int, leaf: bytes, search_keys: bytes) -> "StoredEntry":
        """Return the entry in a row of the entry table.

        Raises:
            LedgerCorruptError: it can't be read.
        """
        return cls(index, leaf, parse_entry(index, leaf), parse_keys(index, search_keys))


def parse_entry(index: int, leaf: bytes) -> pb.Entry:
    """Return the entry *index*, whose bytes are *leaf*.

    Raises:
        LedgerCorruptError: it can't be read, or states what no entry can: a time that no calendar here has, no outcome,
            no inquiry, or that it annuls itself or a later entry.
    """
    try:
        entry = pb.Entry.FromString(leaf)
    except (DecodeError, TypeError):
        raise LedgerCorruptError(f"entry {index} of the ledger can't be read") from None
    if entry.answered_at_micros >= END_OF_TIME:
        raise LedgerCorruptError(f"entry {index} of the ledger states a time after the year 9999")
    if entry.outcome not in _OUTCOMES or len(entry.inquiry_id) != _UUID_BYTES:
        raise LedgerCorruptError(f"entry {index} of the ledger states no known outcome, or no inquiry")
    if entry.HasField("annuls") and entry.annuls >= index:
        raise LedgerCorruptError(f"entry {index} of the ledger annuls no earlier entry")
    return entry


def parse_keys(index: int, search_keys: bytes) -> pb.SearchKeys:
    """Return the search keys of entry *index*.

    Raises:
        LedgerCorruptError: they can't be read.
    """
    try:
        return pb.SearchKeys.FromString(search_keys)
    except (DecodeError, TypeError):  # SQLite stores a value of any type
        raise LedgerCorruptError(f"entry {index} of the ledger can't be read") from None


_OUTCOMES = frozenset(pb.Outcome.values()) - {pb.OUTCOME_UNSPECIFIED}
_UUID_BYTES = 16


STORED_COLUMNS = entry_table.c["index", "leaf", "search_keys"]
"""The columns of a StoredEntry."""


class EntryRow(NamedTuple):
    """One row of the entry table without its index, in the order of its columns."""

    leaf: bytes
    search_keys: bytes
    subject_1: int | None
    subject_2: int | None
    subject_3: int | None

    @classmethod
    def of(cls, entry: pb.Entry, keys: pb.SearchKeys) -> "EntryRow":
        """Return the row that stores *entry*, which commits to *keys* from now on."""
        search_keys = receipt.canonical(keys)
        entry.keys_commitment = keys_commitment(search_keys)
        return cls(receipt.canonical(entry), search_keys, *index_keys(keys))


def keys_commitment(search_keys: bytes) -> bytes:
    """Return an entry's commitment to its serialized search keys."""
    return hashlib.sha256(search_keys).digest()


def index_keys(keys: pb.SearchKeys) -> tuple[int | None, int | None, int | None]:
    """Return the index keys of an entry with these search *keys*: one for each of up to three subjects."""
    subjects, unpack = keys.subjects, _INDEX_KEY.unpack_from
    try:
        if len(subjects) >= len(SUBJECT_COLUMNS):  # as most have: a call for each would cost twice as much
            return unpack(subjects[0])[0], unpack(subjects[1])[0], unpack(subjects[2])[0]
    except StructError:
        pass  # below, which names the error
    first, second, third, *_ = *map(index_key, subjects), None, None, None
    return first, second, third


class FactNote(NamedTuple):
    """A note of one row of the facts."""

    kind: NoteKind
    number: int
    facts: Mapping[str, Any]
    """The rest of the row; what is None is left out of the notice."""

    @property
    def row(self) -> tuple[str, int, str | None]:
        """What stands beside the entry's index in the table of notes."""
        return self.kind.value, self.number, self.facts.get("sha256")

    @property
    def notice(self) -> str:
        """The row as a JSON object."""
        stated = {name: value for name, value in self.facts.items() if value is not None}
        return json.dumps({self.kind.value: self.number, **stated}, separators=(",", ":"))


def noted_fact(entry: pb.Entry, keys: pb.SearchKeys) -> tuple[str, int, str | None] | None:
    """Return kind, number and hash of the row that *entry* notes; None if it notes none."""
    if entry.outcome != pb.OUTCOME_NOTED:
        return None
    kind = next((kind.value for kind, subject in SUBJECTS_OF_NOTES.items() if list(keys.subjects) == [subject]), None)
    if kind is None:
        return None
    stated = json.loads(entry.notice)
    return kind, int(stated[kind]), stated.get("sha256")


PassOn = Callable[[Iterable[StoredEntry]], Iterator[StoredEntry]]
"""Passes on entries, or raises an error for one that is not to be believed (`estelam.ledger.verified_rows`)."""

N = TypeVar("N")
_NOTING = Statement(
    select(*STORED_COLUMNS)
    .join(fact_note_table, fact_note_table.c["index"] == entry_table.c["index"])
    .where(fact_note_table.c.kind == bindparam("kind"))
    .order_by(fact_note_table.c["index"])
)


def parsed_notice(stored: StoredEntry, parse: Callable[[StoredEntry, Any], N]) -> N:
    """Return what *parse* makes of an entry and the JSON of its notice.

    Raises:
        LedgerCorruptError: the notice is no JSON, or lacks a part.
    """
    try:
        return parse(stored, json.loads(stored.entry.notice))
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError):
        raise LedgerCorruptError(f"the notice of entry {stored.index} of the ledger can't be read") from None


def check_text(value: Any) -> str:
    """Return *value*, which must be a text.

    Raises:
        TypeError: it is not.
    """
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def parsed_notes(
    connection: Connection, kind: NoteKind, verified: PassOn, parse: Callable[[StoredEntry, Any], N]
) -> Iterator[N]:
    """Yield what *parse* makes of each entry that notes a row of *kind*, in the order of the ledger.

    Raises:
        LedgerCorruptError: an entry is not to be believed, or can't be read.
    """
    rows = _NOTING.rows(connection, kind=kind.value)
    for stored in verified(StoredEntry.parse(*row) for row in rows):
        yield parsed_notice(stored, parse)


def request_subject(method: str, request: bytes) -> Subject:
    """Return the subject whose keyed hash is `question` in search keys: *request*, in canonical bytes, to *method*."""
    return Subject(method, request.hex())


def index_key(keyed: bytes) -> int:
    """Return the index key of a subject's keyed hash: its first 8 bytes. Keys may collide: compare the hashes.

    Raises:
        LedgerCorruptError: it is shorter.
    """
    try:
        return _INDEX_KEY.unpack_from(keyed)[0]  # type: ignore[no-any-return]
    except StructError:
        raise LedgerCorruptError("a search key of the ledger is too short for a keyed hash") from None


def annulments(connection: Connection) -> dict[int, int]:
    """Return the entries whose callers never got the answer, each with the later entry that says so."""
    columns = annulment_table.c
    return dict(connection.execute(select(columns["index"], columns.annulled_by)).all())


def last_checkpoint_time(connection: Connection) -> datetime:
    """Return the time of the latest checkpoint; 1970 if there is none."""
    return to_datetime(connection.execute(select(func.max(checkpoint_table.c.signed_at_micros))).scalar() or 0)


def last_checkpoint(connection: Connection) -> str | None:
    """Return the signed note of the latest checkpoint, or None if the ledger is empty."""
    newest = select(checkpoint_table.c.note).order_by(checkpoint_table.c.size.desc()).limit(1)
    return connection.execute(newest).scalar()
