"""Appends to the ledger: each commit adds its entries to the ledger's tree and signs one checkpoint over all of it."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import uuid_utils
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import Connection, bindparam, func, select

from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.model import Inquiry, Outcome, Subject
from estelam.core.pem import KeyFileError
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import basis, confirmations, key_use, partitions
from estelam.ledger.basis import Basis
from estelam.ledger.tables import (
    NODE_LEVELS,
    NOTICES,
    SUBJECTS_OF_NOTES,
    EntryRow,
    FactNote,
    annulment_table,
    checkpoint_table,
    confirmation_table,
    entry_table,
    fact_note_table,
    key_use_table,
    node_table,
    request_subject,
)
from estelam.ledger.verified_rows import VerifiedRows
from estelam.receipts import checkpoint, receipt
from estelam.receipts.checkpoint import Checkpoint, origin_of
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.tree import Frontier, Growth, leaf_hash
from estelam.storage.base import LostCommitsError, StoreError
from estelam.storage.statements import RowReader, Statement, start_insert

_checkpoint = checkpoint_table.c
# The last checkpoint, then those that it must continue.
_CHECKPOINTS = Statement(
    select(_checkpoint.size, _checkpoint.note, _checkpoint.frontier)
    .where(
        _checkpoint.size.in_(
            [select(func.max(_checkpoint.size)).scalar_subquery(), bindparam("committed"), bindparam("kept")]
        )
    )
    .order_by(_checkpoint.size.desc())
)
# Beside twice as many as there are new entries, so that expired confirmations are deleted faster than new ones come.
_EXPIRED_AT_ONCE = 16
_WIRE_OUTCOME: Mapping[str, pb.Outcome.ValueType] = {
    Outcome.YES: pb.OUTCOME_YES,
    Outcome.NO: pb.OUTCOME_NO,
    Outcome.DISCLOSED: pb.OUTCOME_DISCLOSED,
    Outcome.LISTED: pb.OUTCOME_LISTED,
}


class EntryDraft(NamedTuple):
    """The content of an entry: an inquiry, its outcome or refusal and, after an answer, the reply without a receipt."""

    inquiry: Inquiry
    outcome: Outcome | Reason
    reply: Message | None = None
    annuls: int | None = None
    """The index of an earlier entry of the inquiry, whose reply the caller never got; None: there is none."""


_KeyedEntry = tuple[pb.Entry, pb.SearchKeys]


class _Record(NamedTuple):
    """An entry before it has an index, and what its receipt states beside it."""

    inquiry_id: uuid_utils.UUID
    entry: _KeyedEntry
    salt: bytes
    request: bytes
    reply: bytes
    confirmation: str
    """The key of a YES in the table of confirmations."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Entries of one commit, complete but for their indexes."""

    micros: int
    drafts: Sequence[EntryDraft]
    notes: Sequence[FactNote]
    records: Sequence[_Record]
    """What the receipt of each draft states."""
    rows: Sequence[EntryRow]
    """The notes' rows, then the drafts', then those of notices."""
    leaves: Sequence[bytes]
    """The hash of each row's leaf."""
    first_use: Mapping[str, bytes]
    """The HMAC key and its check value, if the first of these entries is the first under this key."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Prepared entries with their indexes, in a transaction that may not be committed yet."""

    prepared: Prepared
    first: int
    """The index of the first row."""
    tree: Growth
    note: str

    @property
    def leaves(self) -> dict[int, bytes]:
        """The leaf of each draft's entry, by its index."""
        return {index: self.prepared.rows[index - self.first].leaf for index, _ in self._indexed}

    @property
    def annulments(self) -> list[tuple[int, int]]:
        """The index of each annulled entry, and of the draft's that annuls it."""
        return [(draft.annuls, index) for index, draft in self._indexed if draft.annuls is not None]

    @property
    def confirmations(self) -> list[tuple[int, str, int]]:
        """The row of each YES in the table of confirmations."""
        pairs = zip(self._indexed, self.prepared.records, strict=True)
        return [
            (index, record.confirmation, self.prepared.micros) for (index, _), record in pairs if record.confirmation
        ]

    @property
    def _indexed(self) -> Iterator[tuple[int, EntryDraft]]:
        return enumerate(self.prepared.drafts, self.first + len(self.prepared.notes))

    def receipts(self) -> Iterator[bytes]:
        """Yield the serialized receipt of each draft, once the transaction is committed."""
        prepared, answered_at = self.prepared, Timestamp()
        answered_at.FromMicroseconds(prepared.micros)
        # What all have in common comes last, and a message's bytes may be joined from those of its fields.
        common = receipt.canonical(pb.Receipt(inclusion_path=self.tree.upper_path, checkpoint=self.note))
        places = range(len(prepared.notes), len(prepared.notes) + len(prepared.records))
        paths = self.tree.lower_paths(self.first + places.start, len(places))
        for place, record, path in zip(places, prepared.records, paths, strict=True):
            own = pb.Receipt(
                inquiry_id=str(record.inquiry_id),
                answered_at=answered_at,
                request=record.request,
                reply=record.reply,
                entry=prepared.rows[place].leaf,
                salt=record.salt,
                index=self.first + place,
                inclusion_path=path,
            )
            yield receipt.canonical(own) + common


class _Head(NamedTuple):
    """The last checkpoint as it is stored."""

    size: int
    note: str
    frontier: bytes


class Head(NamedTuple):
    """What appending needs of the ledger, read or queued."""

    read_checkpoints: RowReader
    read_expired: Callable[[], tuple[int, int, int] | None]


class LedgerWriter:
    """Appends to the ledger of *service*, within the caller's transaction.

    What an entry needs but its index is made before the append lock is taken (`prepare`); under the lock the last
    checkpoint is read, and the entries are added to its tree, signed and inserted (`append`).

    Args:
        service: The service's name in the settings; with the signing certificate's organisation it names the ledger.
        keyring: The keys that pseudonymize what entries are found by.
        signer: The key that signs checkpoints.
        clock: The time of entries and checkpoints.

    Raises:
        KeyFileError: the newest certificate of the signing key does not name one organisation.
    """

    def __init__(self, service: str, *, keyring: HmacKeyring, signer: SigningKey, clock: Clock) -> None:
        if not (organization_id := signer.verifying_key.organization_id):
            raise KeyFileError(
                f"{signer.path}: its newest certificate must name one organizationIdentifier (OID 2.5.4.97): "
                "the ledger is named by it"
            )
        self.origin = origin_of(service, organization_id)
        self._keyring = keyring
        self._signer = signer
        self._clock = clock
        # The last checkpoint that this process signed or verified, and its tree.
        self._known: tuple[_Head, Frontier] | None = None
        # Sizes and notes of what was committed to this ledger: the newest checkpoint that this process knows, and the
        # one in the file. The ledger is appended to only while it has both of them.
        self._committed: tuple[int, str] | None = None
        self._kept: tuple[int, str] | None = None
        self._expiry = confirmations.Expiry()

    def verify(self, note: str) -> Checkpoint:
        """Return the checkpoint in *note*, which a known key signed, if it is of this ledger.

        Raises:
            InvalidReceipt: it is not, or has no valid signature.
        """
        found, _ = checkpoint.verify(note, self._signer.known_keys)
        if found.origin != self.origin:
            raise InvalidReceipt(ReceiptProblem.OTHER_LEDGER)
        return found

    def verified_rows(self, connection: Connection) -> VerifiedRows:
        """Return the rows that the ledger's newest checkpoint covers.

        Raises:
            LedgerCorruptError, LedgerUncheckedError: as `VerifiedRows.of`.
        """
        return VerifiedRows.of(connection, self._signer.known_keys)

    def check_signing_key(self) -> None:
        """Raise a KeyFileError unless the signing key's certificate is valid now."""
        self._signer.check_validity(self._clock.micros())

    def start_basis(self, connection: Connection) -> Callable[[], Basis]:
        """Read or queue the basis of answers."""
        return basis.start(connection, self._keyring.current)

    def prepare(
        self,
        found: Basis,
        drafts: Sequence[EntryDraft] = (),
        *,
        notes: Sequence[FactNote] = (),
        notices: Sequence[str] = (),
    ) -> Prepared:
        """Prepare *drafts*, and *notices* of changes of the catalogue, as entries of one commit.

        The *notes* come before them: the answers are from data that includes these loads.

        Raises:
            StoreError: the ledger was written with another HMAC key under the id of the current one.
        """
        micros, monotonic = self._clock.micros(), self._clock.monotonic()
        salts = _salts(len(notes) + 2 * len(drafts) + len(notices))
        noted = [self._note(SUBJECTS_OF_NOTES[note.kind], note.notice, micros, salts) for note in notes]
        records = [self._record(draft, micros, monotonic, salts) for draft in drafts]
        noticed = [self._note(NOTICES, notice, micros, salts) for notice in notices]
        entries = [*noted, *(each.entry for each in records), *noticed]
        first_use = self._first_use(found)
        for key_check_value in first_use.values():
            entries[0][1].key_check_value = key_check_value
        rows = [EntryRow.of(entry, keys) for entry, keys in entries]
        return Prepared(micros, drafts, notes, records, rows, [leaf_hash(row.leaf) for row in rows], first_use)

    def _first_use(self, found: Basis) -> dict[str, bytes]:
        key_id = self._keyring.current
        check_value = self._keyring.check_value(key_id)
        if found.key_check_value is None:
            return {key_id: check_value}
        if bytes(found.key_check_value) != check_value:
            raise StoreError(key_use.wrong_keys([key_id]))
        return {}

    def start_head(self, connection: Connection, entries: int) -> Head:
        """Read or queue, under the append lock, what appending about so many *entries* needs of the ledger."""
        read_expired = self._expiry.start(connection, self._clock.micros(), 2 * entries + _EXPIRED_AT_ONCE)
        return Head(self._start_checkpoints(connection), read_expired)

    def check_continuity(self, connection: Connection) -> None:
        """Check that the ledger continues what was committed to it.

        Raises:
            LostCommitsError: it does not.
        """
        self._last_row(self._start_checkpoints(connection)())

    def append(self, connection: Connection, prepared: Prepared, head: Head) -> Appended:
        """Append *prepared* entries after *head*, which was read under the same lock.

        Raises:
            StoreError: the last checkpoint is damaged, not of this ledger, or not signed by a known key.
            LostCommitsError: the ledger does not continue what was committed to it.
        """
        before = self._last_tree(head.read_checkpoints())
        tree = before.append(prepared.leaves)
        note = checkpoint.sign(Checkpoint(self.origin, tree.size, tree.root), self._signer, prepared.micros)
        state = _Head(tree.size, note, tree.frontier.serialize())
        appended = Appended(prepared, before.size, tree, note)
        start_insert(
            connection,
            {
                entry_table: [(index, *row) for index, row in enumerate(prepared.rows, before.size)],
                checkpoint_table: [(*state, prepared.micros)],
                node_table: _completed_nodes(tree),
                key_use_table: [(key_id, before.size, value) for key_id, value in prepared.first_use.items()],
                fact_note_table: [(index, *note.row) for index, note in enumerate(prepared.notes, before.size)],
                annulment_table: appended.annulments,
                confirmation_table: appended.confirmations,
            },
        )
        partitions.extend(connection, before.size, tree.size)
        for annulled, _ in appended.annulments:
            confirmations.start_deletion(connection, annulled, annulled)
        if expired := head.read_expired():
            oldest, newest, before_micros = expired
            # By the time that this commit states: `verify` misses what has not expired by any later one.
            before_micros = min(before_micros, prepared.micros - confirmations.KEPT_MICROS)
            confirmations.start_deletion(connection, oldest, newest, before_micros)
        self._known = state, tree.frontier
        return appended

    def keep_committed(self, size: int, note: str) -> None:
        """Remember the checkpoint *note* of *size* entries, before receipts of it are sent: the ledger must keep it."""
        self._committed = size, note

    def keep_kept(self, size: int, note: str) -> None:
        """Remember the checkpoint in the file, which another process may have written: the ledger must keep it too."""
        self._kept = size, note

    @property
    def committed_note(self) -> str | None:
        """The newest checkpoint that this process knows to be committed; None: it knows none."""
        return self._committed and self._committed[1]

    def append_at_once(
        self,
        connection: Connection,
        drafts: Sequence[EntryDraft] = (),
        *,
        notes: Sequence[FactNote] = (),
        notices: Sequence[str] = (),
    ) -> Appended:
        """Prepare and append entries in a transaction that has the append lock from its beginning on."""
        prepared = self.prepare(self.start_basis(connection)(), drafts, notes=notes, notices=notices)
        return self.append(connection, prepared, self.start_head(connection, len(prepared.rows)))

    def _start_checkpoints(self, connection: Connection) -> RowReader:
        committed, kept = (known[0] if known else 0 for known in (self._committed, self._kept))
        return _CHECKPOINTS.start(connection, committed=committed, kept=kept)

    def _last_row(self, rows: Sequence[Any]) -> Any:
        """Return the first of *rows*, the last checkpoint; None if there is none.

        Raises:
            LostCommitsError: one that was committed is not among them.
        """
        notes = {row.size: row.note for row in rows}
        last = rows[0].size if rows else 0
        for size, note in filter(None, (self._committed, self._kept)):
            if last < size:
                raise LostCommitsError(
                    f"the ledger has {last} entries, fewer than the {size} that were answered from it"
                )
            if notes.get(size) != note:
                raise LostCommitsError(
                    f"the ledger has {last} entries, and its first {size} are not those that were answered from it"
                )
        return rows[0] if rows else None

    def _last_tree(self, rows: Sequence[Any]) -> Frontier:
        """Return the tree that the last checkpoint describes: the first of *rows*, if any.

        Raises:
            StoreError: it describes another one, so that the next checkpoint would contradict it, or the ledger does
                not continue what was committed to it.
        """
        if (last := self._last_row(rows)) is None:
            return Frontier()
        head = _Head(*last)
        if self._known is not None and self._known[0] == head:
            return self._known[1]
        try:
            tree, signed = Frontier.parse(head.size, head.frontier), checkpoint.parse(head.note).checkpoint
        except ValueError:
            raise StoreError("the last checkpoint of the ledger is damaged") from None
        if signed != Checkpoint(self.origin, tree.size, tree.root):
            raise StoreError(f"the last checkpoint of the ledger is not one of {self.origin} with its entries")
        try:
            checkpoint.verify(head.note, self._signer.known_keys)
        except InvalidReceipt as error:
            raise StoreError(
                f"the last checkpoint of the ledger has no valid signature: {error}; if the signing key was replaced, "
                "add its former certificates to signing_certificates"
            ) from None
        self._known = head, tree
        return tree

    def _note(self, subject: bytes, notice: str, micros: int, salts: Iterator[bytes]) -> _KeyedEntry:
        entry = pb.Entry(
            inquiry_id=uuid_utils.uuid7().bytes, answered_at_micros=micros, outcome=pb.OUTCOME_NOTED, notice=notice
        )
        return entry, self._search_keys(next(salts), subjects=[subject])

    def _record(self, draft: EntryDraft, micros: int, monotonic: float, salts: Iterator[bytes]) -> _Record:
        inquiry, hashed = draft.inquiry, self._keyring.hash
        method, purpose = inquiry.method, inquiry.purpose
        is_valid = inquiry.request is not None
        request = receipt.canonical(inquiry.request) if is_valid else b""
        reply = receipt.canonical(draft.reply) if draft.reply else b""
        outcome = _WIRE_OUTCOME.get(draft.outcome, pb.OUTCOME_REFUSED)
        subjects = method.subjects(inquiry.request) if is_valid else ()
        disclosed = method.disclosed(draft.reply) if draft.reply else ()
        salt = next(salts)
        keys = self._search_keys(
            next(salts),
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
            nonce=inquiry.nonce,
        )
        is_yes = outcome == pb.OUTCOME_YES
        confirmation = confirmations.key_of(inquiry.caller.organization_id, keys.question) if is_yes else ""
        return _Record(inquiry.id, (entry, keys), salt, request, reply, confirmation)

    def _search_keys(
        self,
        salt: bytes,
        *,
        subjects: Sequence[bytes],
        question: bytes = b"",
        correlation: bytes = b"",
        case_reference: bytes = b"",
        operator: bytes = b"",
    ) -> pb.SearchKeys:
        return pb.SearchKeys(
            salt=salt,
            key_id=self._keyring.current,
            subjects=subjects,
            question=question,
            correlation=correlation,
            case_reference=case_reference,
            operator=operator,
        )


def _salts(count: int) -> Iterator[bytes]:
    """Yield *count* salts, for which the system is asked once."""
    size = receipt.SALT_BYTES
    drawn = secrets.token_bytes(count * size)
    return (drawn[start : start + size] for start in range(0, len(drawn), size))


def _completed_nodes(tree: Growth) -> list[tuple[int, int, bytes]]:
    return [
        (level, index, node)
        for level in NODE_LEVELS
        if level < len(tree.levels)
        for index, node in tree.completed(level)
    ]
