"""Export of a ledger's tree as static files (C2SP tlog-tiles): hashes of entries and nodes, and the checkpoint.

    DIR/checkpoint                  the newest checkpoint, replaced last
    DIR/tile/0/x001/234             the hashes of entries 316,160 to 316,415; tile/1/... and so on: of 256 tiles each
    DIR/tile/0/x001/235.p/17        the last tile of a level, while it has fewer than 256 hashes

There are no bundles of entries: an entry states who asked and when, and leaves the provider in a receipt only.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from estelam.core.exceptions import UsageError
from estelam.core.files import write_atomic
from estelam.core.keys import VerifyingKey
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.proofs import StoredNodes
from estelam.ledger.verify import verify_heads
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.tree import EMPTY_ROOT, node_hash, subtree_root

WIDTH = 256
_LEVELS_OF_TILE = 8


def export(
    connection: Connection, folder: Path, note: str, end: Checkpoint, before: Checkpoint, archived: Sequence[Connection]
) -> Iterator[Path]:
    """Write what *folder* lacks of the tree that the checkpoint *end* describes; yield the path of each tile written.

    Every tile is verified: a full one hashes to its place in the tile above, and the last ones to the signed root. The
    checkpoint is replaced once all tiles are on the disk, so that a reader never finds one without its tiles.

    Args:
        connection: A connection to the ledger's store.
        folder: The folder of this ledger's tiles; it is created.
        note: The signed note of *end*.
        end: The ledger's newest checkpoint, verified.
        before: The checkpoint that was exported before (`exported`).
        archived: Connections to the files of archived entries from *before* on, oldest first.

    Raises:
        LedgerCorruptError: the ledger does not continue what was exported, or its nodes do not match the checkpoint.
        OSError: a file can't be written.
    """
    verify_heads(connection, end, [(before.size, before.root)], archived)
    nodes = StoredNodes(connection, archived)
    if subtree_root(0, end.size, nodes) != end.root:
        raise LedgerCorruptError(f"its nodes do not match the root of its checkpoint of {end.size} entries")
    replaced = []
    for level in range(_depth(end.size)):
        size, known = (each >> level * _LEVELS_OF_TILE for each in (end.size, before.size))
        for index in range(known // WIDTH, -(-size // WIDTH)):
            width = min(WIDTH, size - index * WIDTH)
            if known - index * WIDTH == width:
                continue
            hashes = nodes.row(level * _LEVELS_OF_TILE, index * WIDTH, width)
            if width == WIDTH and _root(hashes) != nodes((level + 1) * _LEVELS_OF_TILE, index):
                raise LedgerCorruptError(f"tile {index} of level {level} does not match the node above it")
            path = folder / _name(level, index, width)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, b"".join(hashes))
            if width == WIDTH:
                replaced.append(path.with_name(f"{path.name}.p"))
            yield path
    os.sync()  # once for all tiles
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "checkpoint", note, durable=True)
    for partial in replaced:
        shutil.rmtree(partial, ignore_errors=True)


def exported(folder: Path, origin: str, keys: Mapping[str, VerifyingKey]) -> Checkpoint:
    """Return the checkpoint whose tiles *folder* holds; that of the empty tree before the first export.

    Args:
        folder: The folder.
        origin: The name of the ledger.
        keys: The signing keys, present and past, by their ids.

    Raises:
        UsageError: the folder holds something else, or an export of another ledger.
    """
    try:
        found, _ = checkpoint.verify((folder / "checkpoint").read_text("utf-8"), keys)
    except FileNotFoundError:
        # Tiles without a checkpoint are of an export that did not end.
        if folder.exists() and {each.name for each in folder.iterdir()} - {"tile"}:
            raise UsageError(f"{folder}: holds something else than tiles; name a folder of their own") from None
        return Checkpoint(origin, 0, EMPTY_ROOT)
    except (ValueError, InvalidReceipt) as error:
        raise UsageError(f"{folder / 'checkpoint'}: {error}; name the folder of this ledger's tiles") from None
    if found.origin != origin:
        raise UsageError(f"{folder}: holds the tiles of {found.origin}; name another folder")
    return found


def _depth(size: int) -> int:
    """Return the number of levels of tiles of a tree of *size* entries."""
    return max(1, -(-size.bit_length() // _LEVELS_OF_TILE))


def _name(level: int, index: int, width: int) -> str:
    *groups, last = f"{index:,}".replace(",", " ").split()
    padded = [f"x{group:>03}" for group in groups] + [f"{last:>03}"]
    return f"tile/{level}/{'/'.join(padded)}" + ("" if width == WIDTH else f".p/{width}")


def _root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
