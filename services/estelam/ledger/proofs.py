"""Proofs from a stored ledger: its nodes, and inclusion and consistency proofs as text in the forms of C2SP."""

from sqlalchemy import Connection, select

from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import NODE_LEVELS, checkpoint_table, entry_table, node_table
from estelam.receipts.proofs import consistency_text, inclusion_text
from estelam.receipts.tree import leaf_hash, node_hash, prove_consistency, prove_inclusion


class StoredNodes:
    """The complete nodes of a stored tree: each is computed from up to 128 stored ones.

    Raises:
        LedgerCorruptError: on a call, if one of these is missing.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        found = self._connection.execute(query.where(index >= first, index < first + count).order_by(index)).scalars()
        rows = found.all()
        if len(rows) != count or not all(isinstance(row, bytes) for row in rows):
            kind = "entry" if level == 0 else f"node of level {level}"
            raise LedgerCorruptError(f"a {kind} from {first} on is missing or corrupt")
        return [leaf_hash(row) for row in rows] if level == 0 else list(rows)


def note_of_size(connection: Connection, size: int) -> str | None:
    """Return the signed note of the checkpoint of *size* entries; None if no commit ended there."""
    found: str | None = connection.execute(
        select(checkpoint_table.c.note).where(checkpoint_table.c.size == size)
    ).scalar()
    return found


def inclusion(connection: Connection, index: int, size: int, note: str) -> str:
    """Return the proof that entry *index* is in the ledger of *size* entries, whose checkpoint is *note* (tlog-proof).

    Raises:
        ValueError: *size* entries have no entry *index*.
        LedgerCorruptError: a node is missing.
    """
    return inclusion_text(index, prove_inclusion(index, size, StoredNodes(connection)), note)


def consistency(connection: Connection, old: int, size: int, note: str) -> str:
    """Return the proof that the ledger of *old* entries is the beginning of that of *size*, whose checkpoint is *note*.

    The form is that in which C2SP's tlog-witness takes a new checkpoint.

    Raises:
        ValueError: *old* is greater than *size*.
        LedgerCorruptError: a node is missing.
    """
    return consistency_text(old, prove_consistency(old, size, StoredNodes(connection)), note)
