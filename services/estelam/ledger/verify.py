"""The walk along a ledger's chain: whatever was changed, taken away, added or reordered is found."""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError
from sqlalchemy import BigInteger, Connection, LargeBinary, Row, Select, Table, Text, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType

from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.writer import GENESIS, block_table, entry_table, header_of, index_keys
from estelam.receipts import receipt

ROWS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain; published, it proves later that nothing was cut off."""

    number: int
    hash: bytes
    entries: int

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"


class LedgerCorruptError(Exception):
    """The chain does not hold; the text says where and how."""


def _as_stored(table: Table) -> Select[*tuple[Any, ...]]:
    """All rows of *table*, by its key, as the driver gives them: no value is made to fit its column."""
    columns = [type_coerce(column, NullType()).label(column.name) for column in table.columns]
    return select(*columns).order_by(*table.primary_key)


_STORED_BLOCKS, _STORED_ENTRIES = _as_stored(block_table), _as_stored(entry_table)
_KINDS: Mapping[type[Any], type] = {BigInteger: int, Text: str, LargeBinary: bytes}
_BLOCK_KINDS = [_KINDS[type(column.type)] for column in block_table.columns]


def verify_ledger(connection: Connection, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Head]:
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
        raise LedgerCorruptError("a value can't be read") from None


def _walk(connection: Connection, keys: Mapping[str, Ed25519PublicKey]) -> Iterator[Head]:
    streamed = connection.execution_options(yield_per=ROWS_AT_ONCE)
    with streamed.execute(_STORED_ENTRIES) as entries, streamed.execute(_STORED_BLOCKS) as blocks:
        yield from _heads(chain.from_iterable(entries.partitions()), blocks, keys)


def _heads(
    entries: Iterator[Row[*tuple[Any, ...]]],
    blocks: Iterable[Row[*tuple[Any, ...]]],
    keys: Mapping[str, Ed25519PublicKey],
) -> Iterator[Head]:
    previous, sequence = GENESIS, 1
    for number, row in enumerate(blocks, start=1):
        try:
            header = _block(row, number, sequence, previous, keys)
            leaves = [
                receipt.leaf_hash(_sealed(entry, place))
                for place, entry in enumerate(islice(entries, header.entry_count), start=sequence)
            ]
        except (TypeError, ValueError, struct.error, DecodeError, receipt.InvalidReceipt) as error:
            words = str(error) if isinstance(error, receipt.InvalidReceipt) else "a value is damaged"
            raise LedgerCorruptError(f"block {number}: {words}") from None
        if len(leaves) != header.entry_count or receipt.merkle_levels(leaves)[-1][0] != header.merkle_root:
            raise LedgerCorruptError(f"block {number}: its entries, from {sequence} on, are not those that were sealed")
        previous = hashlib.sha256(receipt.canonical(header)).digest()
        sequence += header.entry_count
        yield Head(number, previous, sequence - 1)
    if next(entries, None) is not None:
        raise LedgerCorruptError(f"entry {sequence}: it and what follows lie in no block")


def _block(
    row: Row[*tuple[Any, ...]], number: int, sequence: int, previous: bytes, keys: Mapping[str, Ed25519PublicKey]
) -> pb.BlockHeader:
    # SQLite keeps a value of any kind in any column, and protobuf takes bytes for text: the seal alone misses that.
    if [type(value) for value in row] != _BLOCK_KINDS:
        raise receipt.InvalidReceipt("a value is not of its column's kind")
    header = header_of(row)
    if header.number != number or header.first_sequence != sequence or header.entry_count < 1:
        raise receipt.InvalidReceipt("a block or an entry is missing or out of order before it")
    if header.previous_hash != previous:
        raise receipt.InvalidReceipt("it does not follow from the block before it")
    receipt.check_signature(receipt.canonical(header), header.key_id, row.signature, keys)
    return header


def _sealed(row: Row[*tuple[Any, ...]], sequence: int) -> bytes:
    """The bytes that were sealed, once all that stands beside them was found to follow from them."""
    place, sealed, *marks = row
    if type(sealed) is not bytes or type(place) is not int:
        raise receipt.InvalidReceipt("a value is not of its column's kind")
    entry = pb.Entry.FromString(sealed)
    if not place == entry.sequence == sequence:
        raise receipt.InvalidReceipt("an entry is missing or out of order")
    right = index_keys(entry)
    # Compared by kind too: SQLite keeps 1.0 beside 1.
    if tuple(marks) != right or [*map(type, marks)] != [*map(type, right)]:
        raise receipt.InvalidReceipt("an entry is marked for other subjects")
    return sealed
