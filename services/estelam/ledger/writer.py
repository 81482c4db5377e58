"""Appends to the ledger: each commit adds its entries to the ledger's tree and signs one checkpoint over all of it."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import uuid_utils
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, insert, select

from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Inquiry, Outcome, Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import key_use
from estelam.ledger.tables import (
    NODE_LEVELS,
    NOTICES,
    SUBJECTS_OF_NOTES,
    EntryRow,
    FactNote,
    annulment_table,
    checkpoint_table,
    entry_table,
    fact_note_table,
    key_use_table,
    node_table,
    request_subject,
)
from estelam.receipts import checkpoint, receipt
from estelam.receipts.checkpoint import Checkpoint, origin_of
from estelam.receipts.tree import Frontier, Growth, leaf_hash
from estelam.storage.base import StoreError

_INSERT_CHECKPOINT = insert(checkpoint_table)
_LAST_CHECKPOINT = select(checkpoint_table).order_by(checkpoint_table.c.size.desc()).limit(1)
_WIRE_OUTCOME: Mapping[str, pb.Outcome.ValueType] = {
    Outcome.YES: pb.OUTCOME_YES,
    Outcome.NO: pb.OUTCOME_NO,
    Outcome.DISCLOSED: pb.OUTCOME_DISCLOSED,
}


@dataclass(frozen=True, slots=True)
class EntryDraft:
    """The content of an entry: an inquiry, its outcome or refusal and, after an answer, the reply without a receipt."""

    inquiry: Inquiry
    outcome: Outcome | Reason
    reply: Message | None = None
    annuls: int | None = None
    """The index of an earlier entry of the inquiry, whose reply the caller never got; None: there is none."""


_KeyedEntry = tuple[pb.Entry, pb.SearchKeys]


class _Committed(NamedTuple):
    """Appended entries, with the parts of their receipts."""

    rows: list[EntryRow]
    first: int
    """The index of the first one."""
    tree: Growth
    note: str


class LedgerWriter:
    """Appends to the ledger of *service*, within the caller's transaction.

    Args:
        service: The service's name in the settings; with the signing certificate's organisation it names the ledger.
        keyring: The keys that pseudonymize what entries are found by.
        signer: The key that signs checkpoints.
        clock: The time of entries and checkpoints.
    """

    def __init__(self, service: str, *, keyring: HmacKeyring, signer: SigningKey, clock: Clock) -> None:
        self.origin = origin_of(service, signer.verifying_key.organization_id)
        self._keyring = keyring
        self._signer = signer
        self._clock = clock
        # Not set by the transaction that stores it, whose commit may fail: a transaction appends once.
        self._key_use_is_stored = False

    def check_signing_key(self) -> None:
        """Raise a KeyFileError unless the signing key's certificate is valid now."""
        self._signer.check_validity(self._clock.micros())

    def append(
        self, connection: Connection, drafts: Sequence[EntryDraft], *, notes: Sequence[FactNote] = ()
    ) -> list[pb.Receipt]:
        """Append *drafts* as entries of one commit, and return the receipt of each, in order.

        The *notes* come before them: the answers are from data that includes these loads.
        """
        micros, monotonic = self._clock.micros(), self._clock.monotonic()
        noted = [self._note(SUBJECTS_OF_NOTES[note.kind], note.notice, micros) for note in notes]
        prepared = [self._prepare(draft, micros, monotonic) for draft in drafts]
        committed = self._append(connection, [*noted, *(each.entry for each in prepared)], micros)
        first = committed.first + len(noted)
        if noted:
            rows = [
                {"index": index, "kind": note.kind.value, "number": note.number}
                for index, note in enumerate(notes, start=committed.first)
            ]
            connection.execute(insert(fact_note_table), rows)
        annulled = [(index, draft.annuls) for index, draft in enumerate(drafts, start=first)]
        if annulments := [{"index": old, "annulled_by": index} for index, old in annulled if old is not None]:
            connection.execute(insert(annulment_table), annulments)
        answered_at = Timestamp()
        answered_at.FromMicroseconds(micros)
        return [
            pb.Receipt(
                inquiry_id=str(draft.inquiry.id),
                answered_at=answered_at,
                request=each.request,
                reply=each.reply,
                entry=committed.rows[index - committed.first].leaf,
                salt=each.salt,
                index=index,
                inclusion_path=committed.tree.path(index),
                checkpoint=committed.note,
            )
            for index, (draft, each) in enumerate(zip(drafts, prepared, strict=True), start=first)
        ]

    def append_notices(self, connection: Connection, notices: Sequence[str]) -> None:
        """Append each of *notices* (changes of the catalogue) as an entry, all in one commit."""
        micros = self._clock.micros()
        self._append(connection, [self._note(NOTICES, notice, micros) for notice in notices], micros)

    def _note(self, subject: bytes, notice: str, micros: int) -> _KeyedEntry:
        entry = pb.Entry(
            inquiry_id=uuid_utils.uuid7().bytes, answered_at_micros=micros, outcome=pb.OUTCOME_NOTED, notice=notice
        )
        return entry, self._search_keys(subjects=[subject])

    def _append(self, connection: Connection, entries: Sequence[_KeyedEntry], micros: int) -> _Committed:
        if not self._key_use_is_stored:
            self._key_use_is_stored = key_use.is_stored(connection, self._keyring)
        first_keys = entries[0][1]
        if not self._key_use_is_stored:
            first_keys.key_check_value = self._keyring.check_value(first_keys.key_id)
        rows = [EntryRow.of(entry, keys) for entry, keys in entries]
        leaves = [leaf_hash(row.leaf) for row in rows]
        before = self._last_tree(connection)
        tree = before.append(leaves)
        note = checkpoint.sign(Checkpoint(self.origin, tree.size, tree.root), self._signer, micros)
        _insert_entries(connection, before.size, rows)
        if nodes := _completed_nodes(tree):
            connection.execute(insert(node_table), nodes)
        state = {
            "size": tree.size,
            "note": note,
            "frontier": tree.frontier.serialize(),
            "signed_at_micros": micros,
        }
        connection.execute(_INSERT_CHECKPOINT, state)
        if check_value := first_keys.key_check_value:
            used = {"key_id": first_keys.key_id, "first_index": before.size, "check_value": check_value}
            connection.execute(insert(key_use_table).values(used))
        return _Committed(rows, before.size, tree, note)

    def _last_tree(self, connection: Connection) -> Frontier:
        """Return the tree that the last checkpoint describes.

        Raises:
            StoreError: it describes another one, so that the next checkpoint would contradict it.
        """
        last = connection.execute(_LAST_CHECKPOINT).first()
        if last is None:
            return Frontier()
        try:
            tree, signed = Frontier.parse(last.size, last.frontier), checkpoint.parse(last.note).checkpoint
        except ValueError:
            raise StoreError("the last checkpoint of the ledger is damaged") from None
        if signed != Checkpoint(self.origin, tree.size, tree.root):
            raise StoreError(f"the last checkpoint of the ledger is not one of {self.origin} with its entries")
        return tree

    def _prepare(self, draft: EntryDraft, micros: int, monotonic: float) -> "_Prepared":
        inquiry, hashed = draft.inquiry, self._keyring.hash
        method, purpose = inquiry.method, inquiry.purpose
        is_valid = inquiry.request is not None
        request = receipt.canonical(inquiry.request) if is_valid else b""
        reply = receipt.canonical(draft.reply) if draft.reply else b""
        outcome = _WIRE_OUTCOME.get(draft.outcome, pb.OUTCOME_REFUSED)
        subjects = method.subjects(inquiry.request) if is_valid else ()
        disclosed = method.disclosed(draft.reply) if draft.reply else ()
        salt = secrets.token_bytes(receipt.SALT_BYTES)
        keys = self._search_keys(
            subjects=[hashed(subject) for subject in (*subjects, *disclosed)],
            question=hashed(request_subject(method.name, request)) if is_valid else b"",
            correlation=hashed(Subject("correlation", purpose.correlation)) if purpose.correlation else b"",
            case_reference=hashed(Subject("case", purpose.case_reference)) if purpose.case_reference else b"",
            operator=hashed(Subject("operator", purpose.operator)) if purpose.operator else b"",
        )
        entry = pb.Entry(
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros,
            caller=inquiry.caller.organization_id,
            method=method.name,
            # A refused agency can be any text, also a person's id: only an accepted one is stored.
            agency=method.agency(inquiry.request) if draft.reply else "",
            outcome=outcome,
            refusal="" if outcome != pb.OUTCOME_REFUSED else draft.outcome.value,
            latency_micros=min(max(int((monotonic - inquiry.received_at) * 1e6), 0), 2**32 - 1),
            commitment=receipt.commitment(salt, request, reply) if draft.reply else b"",
            annuls=draft.annuls,
        )
        return _Prepared((entry, keys), salt, request, reply)

    def _search_keys(
        self,
        *,
        subjects: Sequence[bytes],
        question: bytes = b"",
        correlation: bytes = b"",
        case_reference: bytes = b"",
        operator: bytes = b"",
    ) -> pb.SearchKeys:
        return pb.SearchKeys(
            salt=secrets.token_bytes(receipt.SALT_BYTES),
            key_id=self._keyring.current,
            subjects=subjects,
            question=question,
            correlation=correlation,
            case_reference=case_reference,
            operator=operator,
        )


class _Prepared(NamedTuple):
    """An entry before it has an index, and what its receipt states beside it."""

    entry: _KeyedEntry
    salt: bytes
    request: bytes
    reply: bytes


def _completed_nodes(tree: Growth) -> list[dict[str, object]]:
    return [
        {"level": level, "index": index, "hash": node}
        for level in NODE_LEVELS
        if level < len(tree.levels)
        for index, node in tree.completed(level)
    ]


# Driver-level statements: SQLAlchemy's named parameters would double the cost of each row.
_COLUMNS = ", ".join(f'"{column.name}"' for column in entry_table.columns)
_INSERT_ROWS = f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_INSERT_ARRAYS = (
    f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) SELECT * FROM"  # noqa: S608 - constants
    " unnest(%b::bigint[], %b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])"
)


def _insert_entries(connection: Connection, first: int, rows: Sequence[EntryRow]) -> None:
    numbered = [(index, *row) for index, row in enumerate(rows, start=first)]
    if connection.dialect.name == "postgresql":
        # One statement for all rows: half the work of one per row, for client and server.
        connection.exec_driver_sql(_INSERT_ARRAYS, tuple(map(list, zip(*numbered, strict=True))))
    else:
        connection.exec_driver_sql(_INSERT_ROWS, numbered)
