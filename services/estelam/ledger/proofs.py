"""Proofs from a stored ledger: its nodes, and inclusion and consistency proofs as text in the forms of C2SP."""

from collections.abc import Sequence

from sqlalchemy import Connection, select

from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import NODE_LEVELS, archive_table, checkpoint_table, entry_table, node_table
from estelam.receipts.proofs import consistency_text, inclusion_text
from estelam.receipts.tree import leaf_hash, node_hash, prove_consistency, prove_inclusion
from estelam.storage.base import StoreError

_ARCHIVED = select(archive_table.c.first_index)


class StoredNodes:
    """The complete nodes of a stored tree: each is computed from up to 128 stored ones.

    Args:
        connection: A connection to the ledger's store.
        archived: Connections to the files of archived entries.

    Raises:
        LedgerCorruptError: on a call, if one of these is missing.
        StoreError: on a call, if it is archived, and its file not given.
    """

    def __init__(self, connection: Connection, archived: Sequence[Connection] = ()) -> None:
        self._connection = connection
        self._archived = archived

    def __call__(self, level: int, index: int) -> bytes:
        """Return the complete node *index* of *level*."""
        rest = level % NODE_LEVELS.step
        nodes = self.row(level - rest, index << rest, 1 << rest)
        while len(nodes) > 1:
            nodes = [node_hash(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
        return nodes[0]

    def row(self, level: int, first: int, count: int) -> list[bytes]:
        """Return *count* complete nodes of *level*, a multiple of 8, from index *first* on."""
        if level == 0:
            columns = entry_table.c
            query = select(columns.leaf)
        else:
            columns = node_table.c
            query = select(columns.hash).where(columns.level == level)
        index = columns["index"]
        query = query.where(index >= first, index < first + count).order_by(index)
        sources = (self._connection, *self._archived) if level == 0 else (self._connection,)
        # A partition holds many times as many entries as are read here, so they are all in one place.
        rows = next((rows for each in sources if len(rows := each.execute(query).scalars().all()) == count), ())
        if len(rows) != count or not all(isinstance(row, bytes) for row in rows):
            if level == 0 and self._connection.execute(_ARCHIVED.where(archive_table.c.end_index > first)).first():
                raise StoreError(f"the entries from {first} on are archived, and their file is needed (--archive)")
            kind = "entry" if level == 0 else f"node of level {level}"
            raise LedgerCorruptError(f"a {kind} from {first} on is missing or corrupt")
        return [leaf_hash(row) for row in rows] if level == 0 else list(rows)


def note_of_size(connection: Connection, size: int) -> str | None:
    """Return the signed note of the checkpoint of *size* entries; None if no commit ended there."""
    found: str | None = connection.execute(
        select(checkpoint_table.c.note).where(checkpoint_table.c.size == size)
    ).scalar()
    return found


def inclusion(connection: Connection, index: int, size: int, note: str, archived: Sequence[Connection] = ()) -> str:
    """Return the proof that entry *index* is in the ledger of *size* entries, whose checkpoint is *note* (tlog-proof).

    Raises:
        ValueError: *size* entries have no entry *index*.
        LedgerCorruptError: a node is missing.
        StoreError: an entry that is needed is archived, and its file not among *archived*.
    """
    return inclusion_text(index, prove_inclusion(index, size, StoredNodes(connection, archived)), note)


def consistency(connection: Connection, old: int, size: int, note: str, archived: Sequence[Connection] = ()) -> str:
    """Return the proof that the ledger of *old* entries is the beginning of that of *size*, whose checkpoint is *note*.

    The form is that in which C2SP's tlog-witness takes a new checkpoint.

    Raises:
        ValueError: *old* is greater than *size*.
        LedgerCorruptError: a node is missing.
        StoreError: an entry that is needed is archived, and its file not among *archived*.
    """
    return consistency_text(old, prove_consistency(old, size, StoredNodes(connection, archived)), note)
