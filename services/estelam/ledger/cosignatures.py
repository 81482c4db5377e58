"""Cosignatures of witnesses on the ledger's checkpoints: stored as they come, and given out with later receipts."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger.errors import LedgerCorruptError, LostStateError
from estelam.ledger.proofs import StoredNodes, note_of_size
from estelam.ledger.tables import cosignature_table, entry_table
from estelam.receipts.tree import prove_inclusion

_COLUMNS = cosignature_table.c


def store(connection: Connection, size: int, witness: str, line: str) -> None:
    """Store the *line* by which *witness* cosigned the checkpoint of *size* entries; an earlier one stays."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"size": size, "witness": witness, "line": line}
    connection.execute(dialect.insert(cosignature_table).values(row).on_conflict_do_nothing())


def cosigned_size(connection: Connection, witness: str) -> int:
    """Return the size of the newest checkpoint that *witness* cosigned; 0 if there is none."""
    return connection.execute(select(func.max(_COLUMNS.size)).where(_COLUMNS.witness == witness)).scalar() or 0


def first_size(connection: Connection, *, needed: int, beyond: int) -> int | None:
    """Return the size, above *beyond*, of the first checkpoint that *needed* witnesses cosigned; None if none is."""
    sizes = select(_COLUMNS.size).where(_COLUMNS.size > beyond).group_by(_COLUMNS.size)
    cosigned = sizes.having(func.count() >= needed).order_by(_COLUMNS.size).limit(1)
    found: int | None = connection.execute(cosigned).scalar()
    return found


def cosigned_note(connection: Connection, size: int) -> str | None:
    """Return the note of the checkpoint of *size* entries with its cosignatures; None if no commit ended there."""
    lines = select(_COLUMNS.line).where(_COLUMNS.size == size).order_by(_COLUMNS.witness)
    note = note_of_size(connection, size)
    return None if note is None else note + "".join(connection.execute(lines).scalars())


def cosigned_receipt(
    connection: Connection, receipt: pb.Receipt, *, needed: int, archived: Sequence[Connection] = ()
) -> pb.Receipt | None:
    """Return *receipt* under the first checkpoint that *needed* witnesses cosigned; None if none contains its entry.

    The first proves the earliest time, and its key is that of the answer unless the key was replaced in between.

    Args:
        connection: A connection to the ledger's store.
        receipt: The receipt.
        needed: How many witnesses.
        archived: Connections to the files of archived entries, if the receipt's entry is one (`Archives`).

    Raises:
        LedgerCorruptError: the ledger has another entry in its place, or lacks a part of the proof.
    """
    entry = select(entry_table.c.leaf).where(entry_table.c["index"] == receipt.index)
    if receipt.entry not in [source.execute(entry).scalar() for source in (connection, *archived)]:
        raise LostStateError(
            f"entry {receipt.index} is missing or another one than the receipt proves", receipt.index + 1
        )
    if (size := first_size(connection, needed=needed, beyond=receipt.index)) is None:
        return None
    if (note := cosigned_note(connection, size)) is None:
        raise LedgerCorruptError(f"the checkpoint of {size} entries, which was cosigned, is missing")
    found = pb.Receipt()
    found.CopyFrom(receipt)
    found.inclusion_path[:] = prove_inclusion(receipt.index, size, StoredNodes(connection, archived))
    found.checkpoint = note
    return found
