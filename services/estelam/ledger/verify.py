"""Verification of a ledger: detects every entry or block that was changed, removed, added or reordered."""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import BigInteger, Connection, LargeBinary, Row, Select, Table, Text, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from estelam.core.keys import VerifyingKey
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.tables import (
    GENESIS,
    annulment_table,
    block_table,
    entry_table,
    fact_note_table,
    header_of,
    index_keys,
    key_use_table,
    noted_fact,
)
from estelam.receipts import receipt
from estelam.receipts.problems import InvalidReceipt

ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Head:
    """The last block of a ledger. A head published earlier proves later that nothing after it was removed."""

    number: int
    hash: bytes
    entries: int

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


class LedgerCorruptError(Exception):
    """The ledger is corrupt; the text states where and how."""


def _as_stored(table: Table) -> Select[*tuple[Any, ...]]:
    """Select all rows of *table* in key order, with the driver's own values: none is converted to a column's type."""
    columns = [type_coerce(each, NullType()).label(each.name) for each in table.columns]
    return select(*columns).order_by(*table.primary_key)


_STORED_BLOCKS, _STORED_ENTRIES = _as_stored(block_table), _as_stored(entry_table)
_TYPES: Mapping[type[Any], type] = {BigInteger: int, Text: str, LargeBinary: bytes}
_BLOCK_TYPES = [_TYPES[type(column.type)] for column in block_table.columns]


def verify_ledger(connection: Connection, keys: Mapping[str, VerifyingKey]) -> Iterator[Head]:
    """Verify the whole ledger; yield the head after each block.

    Any entry or block that was changed, removed, added or reordered is detected. To detect that the end was removed,
    compare the last head yielded with one published earlier.

    Args:
        connection: A connection to the ledger's store.
        keys: The signing keys, present and past, by their ids.

    Raises:
        LedgerCorruptError: at the first fault.
    """
    try:
        yield from _verified_heads(connection, keys)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise LedgerCorruptError("a value can't be read from the store") from None


def _verified_heads(connection: Connection, keys: Mapping[str, VerifyingKey]) -> Iterator[Head]:
    streamed = connection.execution_options(yield_per=ROWS_AT_ONCE)
    derived = _Derived()
    with streamed.execute(_STORED_ENTRIES) as entries, streamed.execute(_STORED_BLOCKS) as blocks:
        yield from _heads(chain.from_iterable(entries.partitions()), blocks, keys, derived)
    derived.check(connection)


class _Derived:
    """What the tables beside the entries must hold, collected from the entries."""

    def __init__(self) -> None:
        self._key_uses: dict[str, tuple[Any, ...]] = {}
        self._fact_notes: list[tuple[Any, ...]] = []
        self._annulments: dict[int, int] = {}

    def add(self, entry: pb.Entry) -> None:
        """Collect what the tables must hold of *entry*."""
        key_id = entry.subject_key_id
        self._key_uses.setdefault(key_id, (key_id, entry.sequence, entry.key_check_value or None))
        if (noted := noted_fact(entry)) is not None:
            self._fact_notes.append((entry.sequence, *noted))
        if entry.annuls:
            self._annulments[entry.annuls] = entry.sequence

    def check(self, connection: Connection) -> None:
        """Compare the tables with what was collected.

        Raises:
            LedgerCorruptError: a table differs.
        """
        tables: tuple[tuple[Table, Iterable[tuple[Any, ...]]], ...] = (
            (key_use_table, self._key_uses.values()),
            (fact_note_table, self._fact_notes),
            (annulment_table, self._annulments.items()),
        )
        for table, expected in tables:
            stored = sorted(repr(tuple(row)) for row in connection.execute(_as_stored(table)))
            if stored != sorted(map(repr, expected)):
                raise LedgerCorruptError(f"the table {table.name} does not match the entries")


def _heads(
    entries: Iterator[Row[*tuple[Any, ...]]],
    blocks: Iterable[Row[*tuple[Any, ...]]],
    keys: Mapping[str, VerifyingKey],
    derived: _Derived,
) -> Iterator[Head]:
    previous, sequence = GENESIS, 1
    for number, row in enumerate(blocks, start=1):
        try:
            header = _verified_header(row, number, sequence, previous, keys)
            leaves = [
                receipt.leaf_hash(_verified_bytes(entry, expected, derived))
                for expected, entry in enumerate(islice(entries, header.entry_count), start=sequence)
            ]
        except (LedgerCorruptError, InvalidReceipt) as error:
            raise LedgerCorruptError(f"block {number}: {error}") from None
        except (TypeError, ValueError, KeyError, struct.error, DecodeError):
            raise LedgerCorruptError(f"block {number}: a value is corrupt") from None
        if len(leaves) != header.entry_count or receipt.merkle_levels(leaves)[-1][0] != header.merkle_root:
            raise LedgerCorruptError(
                f"block {number}: its entries, from {sequence} on, do not match its signed Merkle root"
            )
        previous = hashlib.sha256(receipt.canonical(header)).digest()
        sequence += header.entry_count
        yield Head(number, previous, sequence - 1)
    if next(entries, None) is not None:
        raise LedgerCorruptError(f"entry {sequence}: it and all entries after it belong to no block")


def _verified_header(
    row: Row[*tuple[Any, ...]], number: int, sequence: int, previous: bytes, keys: Mapping[str, VerifyingKey]
) -> pb.BlockHeader:
    # SQLite stores a value of any type in any column, and protobuf accepts bytes as text: the signature can't show it.
    if [type(value) for value in row] != _BLOCK_TYPES:
        raise LedgerCorruptError("a value does not have its column's type")
    header = header_of(row)
    if header.number != number or header.first_sequence != sequence or header.entry_count < 1:
        raise LedgerCorruptError("a block or an entry before it is missing or out of order")
    if header.previous_hash != previous:
        raise LedgerCorruptError("its previous hash does not match the block before it")
    # The order of the blocks proves a block's time: a key that was compromised later could not put it before others.
    receipt.check_signature(header, row.signature, keys, is_time_proven=True)
    return header


def _verified_bytes(row: Row[*tuple[Any, ...]], sequence: int, derived: _Derived) -> bytes:
    """Return the entry's bytes, after a check that all other columns of the row match them."""
    stored_sequence, sealed, *stored_keys = row
    if type(sealed) is not bytes or type(stored_sequence) is not int:
        raise LedgerCorruptError("a value does not have its column's type")
    entry = pb.Entry.FromString(sealed)
    if not stored_sequence == entry.sequence == sequence:
        raise LedgerCorruptError("an entry is missing or out of order")
    expected = index_keys(entry)
    # Types are compared too: SQLite can store 1.0 where 1 belongs.
    if tuple(stored_keys) != expected or [*map(type, stored_keys)] != [*map(type, expected)]:
        raise LedgerCorruptError("an entry's index keys do not match its subjects")
    derived.add(entry)
    return sealed
