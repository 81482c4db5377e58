"""Appends to the ledger: each commit stores its entries in one signed block, chained by hash to the block before."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    GENESIS,
    NOTICES,
    SUBJECTS_OF_NOTES,
    EntryRow,
    FactNote,
    annulment_table,
    block_table,
    entry_table,
    fact_note_table,
    header_of,
    key_use_table,
    request_subject,
)
from estelam.receipts import receipt

_INSERT_BLOCK = insert(block_table)
_LAST_BLOCK = select(block_table).order_by(block_table.c.number.desc()).limit(1)
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
    annuls: int = 0
    """The sequence of an earlier entry of the inquiry, whose reply the caller never got; 0: there is none."""


class _Block(NamedTuple):
    """A signed block, with the parts of its entries' receipts."""

    rows: list[EntryRow]
    levels: list[list[bytes]]
    header: bytes
    signature: bytes


class LedgerWriter:
    """Appends to one ledger, within the caller's transaction."""

    def __init__(self, *, keyring: HmacKeyring, signer: SigningKey, clock: Clock) -> None:
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
        """Append *drafts* as entries of one block, and return the receipt of each, in order.

        The *notes* come before them: the answers are from data that includes these loads.
        """
        micros, monotonic = self._clock.micros(), self._clock.monotonic()
        salts = [secrets.token_bytes(16) for _ in drafts]
        noted = [self._note(SUBJECTS_OF_NOTES[note.kind], note.notice, micros) for note in notes]
        entries = [self._entry(draft, salt, micros, monotonic) for draft, salt in zip(drafts, salts, strict=True)]
        block = self._append_block(connection, [*noted, *entries], micros)
        if noted:
            rows = [
                {"sequence": entry.sequence, "kind": note.kind.value, "number": note.number}
                for entry, note in zip(noted, notes, strict=True)
            ]
            connection.execute(insert(fact_note_table), rows)
        if annulled := [entry for entry in entries if entry.annuls]:
            annulments = [{"sequence": entry.annuls, "annulled_by": entry.sequence} for entry in annulled]
            connection.execute(insert(annulment_table), annulments)
        answered_at = Timestamp()
        answered_at.FromMicroseconds(micros)
        return [
            pb.Receipt(
                inquiry_id=str(draft.inquiry.id),
                answered_at=answered_at,
                entry=row.sealed,
                salt=salt,
                merkle_path=receipt.merkle_path(block.levels, index),
                block_header=block.header,
                signature=block.signature,
            )
            for index, draft, row, salt in zip(
                range(len(noted), len(block.rows)), drafts, block.rows[len(noted) :], salts, strict=True
            )
        ]

    def append_notices(self, connection: Connection, notices: Sequence[str]) -> None:
        """Append each of *notices* (changes of the catalogue) as an entry, all in one block."""
        micros = self._clock.micros()
        self._append_block(connection, [self._note(NOTICES, notice, micros) for notice in notices], micros)

    def _note(self, subject: bytes, notice: str, micros: int) -> pb.Entry:
        return pb.Entry(
            inquiry_id=uuid_utils.uuid7().bytes,
            answered_at_micros=micros,
            subject_key_id=self._keyring.current,
            subjects=[subject],
            outcome=pb.OUTCOME_NOTED,
            notice=notice,
        )

    def _append_block(self, connection: Connection, entries: Sequence[pb.Entry], micros: int) -> _Block:
        head = header_of(last) if (last := connection.execute(_LAST_BLOCK).first()) else None
        first = head.first_sequence + head.entry_count if head else 1
        for sequence, entry in enumerate(entries, start=first):
            entry.sequence = sequence
        if not self._key_use_is_stored:
            self._key_use_is_stored = key_use.is_stored(connection, self._keyring)
        if not self._key_use_is_stored:
            entries[0].key_check_value = self._keyring.check_value(self._keyring.current)
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
        signed = receipt.canonical(header)
        signature = self._signer.sign(receipt.SIGNING_CONTEXT + signed, micros)
        _insert_entries(connection, rows)
        connection.execute(_INSERT_BLOCK, _block_row(header, signature))
        if check_value := entries[0].key_check_value:
            used = {"key_id": entries[0].subject_key_id, "first_sequence": first, "check_value": check_value}
            connection.execute(insert(key_use_table).values(used))
        return _Block(rows, levels, signed, signature)

    def _entry(self, draft: EntryDraft, salt: bytes, micros: int, monotonic: float) -> pb.Entry:
        inquiry, hashed = draft.inquiry, self._keyring.hash
        method, purpose = inquiry.method, inquiry.purpose
        is_valid = inquiry.request is not None
        request = receipt.canonical(inquiry.request) if is_valid else b""
        outcome = _WIRE_OUTCOME.get(draft.outcome, pb.OUTCOME_REFUSED)
        subjects = method.subjects(inquiry.request) if is_valid else ()
        disclosed = method.disclosed(draft.reply) if draft.reply else ()
        return pb.Entry(
            inquiry_id=inquiry.id.bytes,
            answered_at_micros=micros,
            caller=inquiry.caller.organization_id,
            method=method.name,
            subject_key_id=self._keyring.current,
            subjects=[hashed(subject) for subject in (*subjects, *disclosed)],
            question=hashed(request_subject(method.name, request)) if is_valid else b"",
            # A refused agency can be any text, also a person's id: only an accepted one is stored.
            agency=method.agency(inquiry.request) if draft.reply else "",
            correlation=hashed(Subject("correlation", purpose.correlation)) if purpose.correlation else b"",
            case_reference=hashed(Subject("case", purpose.case_reference)) if purpose.case_reference else b"",
            operator=hashed(Subject("operator", purpose.operator)) if purpose.operator else b"",
            outcome=outcome,
            refusal="" if outcome != pb.OUTCOME_REFUSED else draft.outcome.value,
            latency_micros=min(max(int((monotonic - inquiry.received_at) * 1e6), 0), 2**32 - 1),
            commitment=receipt.commitment(salt, request, receipt.canonical(draft.reply)) if draft.reply else b"",
            annuls=draft.annuls,
        )


# Driver-level statements: SQLAlchemy's named parameters would double the cost of each row.
_COLUMNS = ", ".join(EntryRow._fields)
_INSERT_ROWS = f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
_INSERT_ARRAYS = (
    f"INSERT INTO {entry_table.fullname} ({_COLUMNS}) SELECT * FROM"  # noqa: S608 - constants
    " unnest(%b::bigint[], %b::bytea[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[])"
)


def _insert_entries(connection: Connection, rows: Sequence[EntryRow]) -> None:
    if connection.dialect.name == "postgresql":
        # One statement for all rows: half the work of one per row, for client and server.
        connection.exec_driver_sql(_INSERT_ARRAYS, tuple(map(list, zip(*rows, strict=True))))
    else:
        connection.exec_driver_sql(_INSERT_ROWS, rows)


def _block_row(header: pb.BlockHeader, signature: bytes) -> dict[str, Any]:
    return {field.name: getattr(header, field.name) for field in header.DESCRIPTOR.fields} | {"signature": signature}
