"""The Merkle tree of a ledger (RFC 9162, section 2.1): appending, proofs and their verification, over hashes alone.

A node is named by its level and its index at that level: node (0, i) is the hash of leaf i, and a complete node (l, i)
covers the leaves from i * 2^l to before (i + 1) * 2^l. The last node of a level may be incomplete; one without a
sibling moves up unchanged.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of the tree without leaves."""
HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
"""Leaves that a ledger can have: its index is a signed integer of 64 bits in the stores."""

Node = Callable[[int, int], bytes]
"""Returns the complete node of a level and an index."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\0" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with two children."""
    return hashlib.sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree reduced to what appending needs: the complete nodes that have no complete parent, lowest first."""

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    @classmethod
    def parse(cls, size: int, content: bytes) -> "Frontier":
        """Return the frontier of *size* leaves whose nodes are concatenated in *content*.

        Raises:
            ValueError: it has another number of nodes.
        """
        if not isinstance(content, bytes) or size < 0 or len(content) != size.bit_count() * HASH_BYTES:
            raise ValueError("the frontier does not match the size")
        parts = range(0, len(content), HASH_BYTES)
        return cls(size, tuple(content[start : start + HASH_BYTES] for start in parts))

    def serialize(self) -> bytes:
        """Return the nodes, concatenated."""
        return b"".join(self.nodes)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self.nodes:
            return EMPTY_ROOT
        root, *larger = self.nodes
        for node in larger:
            root = node_hash(node, root)
        return root

    def append(self, leaves: Sequence[bytes]) -> "Growth":
        """Return the tree after *leaves*, hashes of at least one leaf: about two hashes for each, and one a level."""
        known = dict(zip(_levels(self.size), self.nodes, strict=True))
        size = self.size + len(leaves)
        levels: list[_Level] = []
        first, nodes = self.size, list(leaves)
        while True:
            level = len(levels)
            if first % 2:  # the left sibling of the first node
                first, nodes = first - 1, [known[level], *nodes]
            levels.append(_Level(first, nodes))
            if first == 0 and len(nodes) == 1:
                return Growth(self, size, levels)
            # As `node_hash`, without a call for each node.
            pairs = [hashlib.sha256(b"\1" + nodes[i] + nodes[i + 1]).digest() for i in range(0, len(nodes) - 1, 2)]
            first, nodes = first // 2, pairs + nodes[len(nodes) - len(nodes) % 2 :]


class _Level(NamedTuple):
    """The nodes of one level from index *first* on, to the last one."""

    first: int
    nodes: list[bytes]


@dataclass(frozen=True, slots=True)
class Growth:
    """A tree that was just appended to, with every node above the new leaves."""

    before: Frontier
    size: int
    levels: Sequence[_Level]

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return self.levels[-1].nodes[0]

    @property
    def frontier(self) -> Frontier:
        """The tree, to append to it again."""
        known = dict(zip(_levels(self.before.size), self.before.nodes, strict=True))
        nodes = []
        for level in _levels(self.size):
            last = (self.size >> level) - 1
            at = self.levels[level]
            nodes.append(at.nodes[last - at.first] if last >= at.first else known[level])
        return Frontier(self.size, tuple(nodes))

    def path(self, index: int) -> list[bytes]:
        """Return the inclusion path of the new leaf *index*, nearest sibling first (RFC 9162, section 2.1.3)."""
        return _siblings(index, self.levels[:-1])

    def lower_paths(self, first: int, count: int) -> Iterator[list[bytes]]:
        """Yield the part of the path that differs among the new leaves, of *count* of them from *first* on."""
        levels = self.levels[: self._meeting_level]
        return (_siblings(index, levels) for index in range(first, first + count))

    @property
    def upper_path(self) -> list[bytes]:
        """The part of the path that all new leaves share, above their lowest common node."""
        level = self._meeting_level
        return _siblings((self.size - 1) >> level, self.levels[level:-1])

    @property
    def _meeting_level(self) -> int:
        return (self.before.size ^ (self.size - 1)).bit_length()

    def completed(self, level: int) -> list[tuple[int, bytes]]:
        """Return the nodes of *level* that are complete only now, with their indexes."""
        old, new = self.before.size >> level, self.size >> level
        return [(index, self.levels[level].nodes[index - self.levels[level].first]) for index in range(old, new)]


def _siblings(index: int, levels: Sequence[_Level]) -> list[bytes]:
    """Return the sibling of the node *index* of the first of *levels*, and of its ancestors in the others, if any."""
    path = []
    for first, nodes in levels:
        if (sibling := (index ^ 1) - first) < len(nodes):
            path.append(nodes[sibling])
        index >>= 1
    return path


def _levels(size: int) -> list[int]:
    """Return the levels of the frontier's nodes, lowest first: the binary digits of *size*."""
    return [level for level in range(size.bit_length()) if size >> level & 1]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root to which *path* leads from the leaf hash *leaf* at *index* of *size* leaves (section 2.1.3.2).

    None if the index is outside the tree, or the path has too few or too many nodes.
    """
    if not 0 <= index < size:
        return None
    node, last, rest = leaf, size - 1, iter(path)
    while last > 0:
        if index % 2 or index < last:
            if (sibling := next(rest, None)) is None:
                return None
            node = node_hash(sibling, node) if index % 2 else node_hash(node, sibling)
        index, last = index // 2, last // 2
    return node if next(rest, None) is None else None


def prove_inclusion(index: int, size: int, node: Node) -> list[bytes]:
    """Return the inclusion path of the leaf *index* in the tree of *size* leaves, from its stored nodes.

    Raises:
        ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("the leaf is outside the tree")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree_root(middle, end, node))
            end = middle
        else:
            path.append(subtree_root(start, middle, node))
            start = middle
    return path[::-1]


def prove_consistency(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of *old* leaves is the beginning of that of *new* leaves (section 2.1.4.1).

    Raises:
        ValueError: *old* is greater than *new*, or negative.
    """
    if not 0 <= old <= new:
        raise ValueError("the earlier tree is larger than the later one")
    if old in (0, new):
        return []
    path, start, end, is_old = [], 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree_root(middle, end, node))
            end = middle
        else:
            path.append(subtree_root(start, middle, node))
            start, is_old = middle, False
    return ([] if is_old else [subtree_root(start, end, node)]) + path[::-1]


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether *proof* shows that the tree of *old* leaves is the start of that of *new* (section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and old_root == (EMPTY_ROOT if old == 0 else new_root)
    shift = (old & -old).bit_length() - 1  # the complete node that ends the earlier tree
    index, last = (old - 1) >> shift, (new - 1) >> shift
    rest = iter(proof if index else [old_root, *proof])
    if (first := next(rest, None)) is None:
        return False
    before = after = first
    while last > 0:
        if index % 2 or index < last:
            if (sibling := next(rest, None)) is None:
                return False
            if index % 2:
                before, after = node_hash(sibling, before), node_hash(sibling, after)
            else:
                after = node_hash(after, sibling)
        index, last = index // 2, last // 2
    return next(rest, None) is None and (before, after) == (old_root, new_root)


def subtree_root(start: int, end: int, node: Node) -> bytes:
    """Return the root of the leaves from *start* to before *end*: a part of a tree that begins at a complete node."""
    count = end - start
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(count)
    return node_hash(subtree_root(start, middle, node), subtree_root(middle, end, node))


def _split(count: int) -> int:
    """Return the largest power of two below *count*, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1
