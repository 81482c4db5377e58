"""Rows of entries that a reader may believe: those that a verified checkpoint covers.

A search finds rows, and a row proves nothing: anyone who can write to the store can change one. So each row that is
shown or counted is compared with the tree that the ledger's newest checkpoint signs, and so is the entry that is said
to annul it. Entries that are missing are found by `ledger verify` alone; the annulment of an entry also where the one
that annuls it is among the rows, as in every search by what was asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain

from sqlalchemy import Connection, select

from estelam.core.keys import VerifyingKey
from estelam.ledger.errors import LedgerCorruptError, fault_of
from estelam.ledger.proofs import StoredNodes
from estelam.ledger.tables import (
    NODE_LEVELS,
    STORED_COLUMNS,
    StoredEntry,
    annulments,
    entry_table,
    keys_commitment,
    last_checkpoint,
)
from estelam.receipts import checkpoint, receipt
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.tree import EMPTY_ROOT, leaf_hash, node_hash, prove_inclusion, root_from_path

_BLOCK = 1 << NODE_LEVELS.step
_BLOCKS = 128
"""So many blocks of nodes and of entries are cached, some 5 MiB."""


class VerifiedRows:
    """Passes on the rows that a checkpoint covers.

    Args:
        connection: A connection to the ledger's store, which sees one state of it.
        last: The newest checkpoint, verified.
        archived: Connections to the files of archived entries.
    """

    def __init__(self, connection: Connection, last: Checkpoint, archived: Sequence[Connection] = ()) -> None:
        self._connection = connection
        self._archived = archived
        self._last = last
        self._nodes = StoredNodes(connection, archived)
        self._levels = lru_cache(_BLOCKS)(self._read_levels)
        self._leaf_hashes = lru_cache(_BLOCKS)(self._verified_leaf_hashes)

    @classmethod
    def of(
        cls, connection: Connection, keys: Mapping[str, VerifyingKey], archived: Sequence[Connection] = ()
    ) -> "VerifiedRows":
        """Return the rows that the ledger's newest checkpoint covers, which one of *keys* must have signed.

        Raises:
            LedgerCorruptError: it is malformed, or its signature is wrong.
            LedgerUncheckedError: none of *keys* signed it.
        """
        note = last_checkpoint(connection)
        try:
            last = checkpoint.verify(note, keys)[0] if note else Checkpoint("", 0, EMPTY_ROOT)
        except InvalidReceipt as error:
            raise fault_of(error, "its checkpoint") from None
        return cls(connection, last, archived)

    def __call__(self, found: Iterable[StoredEntry]) -> Iterator[StoredEntry]:
        """Yield the rows in *found*, each once it is compared.

        Raises:
            LedgerCorruptError: one is not what the checkpoint covers.
            StoreError: the entries beside it, which its proof needs, are archived, and their file is not given.
        """
        for stored in found:
            self.check(stored.index, stored.leaf)
            if keys_commitment(receipt.canonical(stored.keys)) != stored.entry.keys_commitment:
                raise LedgerCorruptError(f"the search keys of entry {stored.index} are not those that it commits to")
            if stored.entry.HasField("annuls") and self._annulments.get(stored.entry.annuls) != stored.index:
                raise LedgerCorruptError(
                    f"entry {stored.index} annuls entry {stored.entry.annuls}, which the table annulment does not say"
                )
            if (annulled_by := self._annulments.get(stored.index)) is not None:
                self._check_annulment(stored.index, annulled_by)
            yield stored

    def _check_annulment(self, index: int, annulled_by: int) -> None:
        query = select(*STORED_COLUMNS).where(entry_table.c["index"] == annulled_by)
        rows = chain.from_iterable(source.execute(query) for source in (self._connection, *self._archived))
        later = next((StoredEntry.parse(*row) for row in rows), None)
        if later is None or not later.entry.HasField("annuls") or later.entry.annuls != index:
            raise LedgerCorruptError(f"the table annulment says that entry {index} is annulled, which no entry does")
        self.check(later.index, later.leaf)

    @cached_property
    def _annulments(self) -> Mapping[int, int]:
        return annulments(self._connection)

    def check(self, index: int, leaf: bytes) -> None:
        """Check that the bytes of entry *index* are *leaf*.

        Raises:
            LedgerCorruptError, StoreError: as for a call.
        """
        is_covered = 0 <= index < self._last.size
        if not is_covered or self._leaf_hashes(index // _BLOCK)[index % _BLOCK] != leaf_hash(leaf):
            raise LedgerCorruptError(f"entry {index} is not covered by the ledger's newest checkpoint")

    def _verified_leaf_hashes(self, block: int) -> list[bytes]:
        # The path of the first entry contains every other hash of its block.
        hashes, first, size = self._levels(0, block)[0], block * _BLOCK, self._last.size
        path = prove_inclusion(first, size, self._node)
        if root_from_path(hashes[0], first, size, path) != self._last.root:
            raise LedgerCorruptError(f"entries from {first} on do not lead to the root of its newest checkpoint")
        return hashes

    def _node(self, level: int, index: int) -> bytes:
        above = level % NODE_LEVELS.step
        block, place = divmod(index, _BLOCK >> above)
        return self._levels(level - above, block)[above][place]

    def _read_levels(self, level: int, block: int) -> list[list[bytes]]:
        """Return the nodes of a block: those of *level*, and all complete ones above them up to one node."""
        first = block * _BLOCK
        rows = [self._nodes.row(level, first, min(_BLOCK, (self._last.size >> level) - first))]
        while len(row := rows[-1]) > 1:
            rows.append([node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)])
        return rows
