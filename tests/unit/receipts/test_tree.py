"""The Merkle tree, checked against RFC 6962's reference vectors, the RFC's own definition and a foreign library."""

import hashlib
from collections.abc import Sequence
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estelam.receipts.proofs import parse_consistency
from estelam.receipts.tree import (
    EMPTY_ROOT,
    MAX_SIZE,
    Frontier,
    is_consistent,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_from_path,
)
from tests.support import go_log

# The inputs and roots of the reference implementation's test of trees of one to eight leaves.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]  # fmt: skip
HASHES = [leaf_hash(b"%d" % number) for number in range(700)]


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """The RFC's own recursive definition, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


@cache
def stored(level: int, index: int) -> bytes:
    """Return a complete node of the tree over HASHES."""
    return plain_root(HASHES[index << level : (index + 1) << level])


def grown(*counts: int) -> Frontier:
    """Return the tree after appending the first hashes in parts of *counts*."""
    frontier = Frontier()
    for count in counts:
        frontier = frontier.append(HASHES[frontier.size : frontier.size + count]).frontier
    return frontier


counts = st.lists(st.integers(1, 90), min_size=1, max_size=7)


@pytest.mark.parametrize("size", range(1, 9))
def test_reference_roots(size: int) -> None:
    """The roots equal those of the reference implementation."""
    assert Frontier().append([leaf_hash(leaf) for leaf in LEAVES[:size]]).root.hex() == ROOTS[size - 1]


@settings(deadline=None)
@given(counts)
def test_appended_in_parts(parts: list[int]) -> None:
    """However the leaves are divided among appends, root and frontier are those of the whole tree."""
    frontier = grown(*parts)

    assert (plain_root(HASHES[: sum(parts)]), sum(parts)) == (frontier.root, frontier.size)
    assert Frontier.parse(frontier.size, frontier.serialize()) == frontier == grown(sum(parts))


@settings(deadline=None)
@given(counts, st.integers(1, 90))
def test_paths_of_new_leaves(before: list[int], count: int) -> None:
    """Every new leaf has a path to the root, equal to the one proven from stored nodes."""
    frontier = grown(*before)
    growth = frontier.append(HASHES[frontier.size : frontier.size + count])

    for index in range(frontier.size, growth.size):
        path = growth.path(index)
        assert growth.root == root_from_path(HASHES[index], index, growth.size, path)
        assert path == prove_inclusion(index, growth.size, stored)


@settings(deadline=None)
@given(counts, st.integers(1, 90), st.integers(0, 6))
def test_completed_nodes(before: list[int], count: int, level: int) -> None:
    """The nodes that an append completes are those of the whole tree, and no other."""
    frontier = grown(*before)
    growth = frontier.append(HASHES[frontier.size : frontier.size + count])

    if level < len(growth.levels):
        expected = range(frontier.size >> level, growth.size >> level)
        assert growth.completed(level) == [(index, stored(level, index)) for index in expected]


def test_hashes_of_an_append(monkeypatch: pytest.MonkeyPatch) -> None:
    """Appending k leaves costs no more than 2k and one hash for each level."""
    frontier, hashed = grown(600), 0

    def counted(left: bytes, right: bytes) -> bytes:
        nonlocal hashed
        hashed += 1
        return node_hash(left, right)

    monkeypatch.setattr("estelam.receipts.tree.node_hash", counted)
    _ = frontier.append(HASHES[600:664]).root

    assert hashed <= 2 * 64 + 10


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200))
def test_consistency(first: int, second: int) -> None:
    """Every earlier tree is proven to be the beginning of every later one, and a changed proof proves nothing."""
    old, new = sorted((first, second))
    old_root, new_root = plain_root(HASHES[:old]), plain_root(HASHES[:new])
    proof = prove_consistency(old, new, stored)

    assert is_consistent(old, old_root, new, new_root, proof)
    assert not is_consistent(old, old_root, new, new_root, [*proof, bytes(32)])
    assert not is_consistent(old, bytes(32), new, new_root, proof)
    assert not is_consistent(new + 1, old_root, new, new_root, proof)
    assert old == 0 or not is_consistent(old, old_root, new, bytes(32), proof)
    for place in range(len(proof)):
        assert not is_consistent(old, old_root, new, new_root, proof[:place] + proof[place + 1 :])
        assert not is_consistent(old, old_root, new, new_root, [*proof[:place], bytes(32), *proof[place + 1 :]])


@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_path_length(size: int) -> None:
    """A path with a node too few or too many leads to no root."""
    path = prove_inclusion(0, size, stored)

    assert [None, None] == [root_from_path(HASHES[0], 0, size, wrong) for wrong in (path[:-1], [*path, bytes(32)])]


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (8, 8), (0, 0)])
def test_index_outside_tree(index: int, size: int) -> None:
    """An index outside the tree leads to no root and has no proof."""
    assert root_from_path(bytes(32), index, size, []) is None
    with pytest.raises(ValueError, match="outside"):
        prove_inclusion(index, size, stored)


@pytest.mark.parametrize(("size", "content"), [(1, b""), (3, bytes(32)), (2, bytes(64)), (-1, b""), (1, bytes(31))])
def test_malformed_frontier(size: int, content: bytes) -> None:
    """A frontier whose nodes do not fit its size is refused."""
    with pytest.raises(ValueError, match="frontier"):
        Frontier.parse(size, content)


def test_empty_tree() -> None:
    """The empty tree's root is the hash of nothing, and it is the beginning of every tree."""
    assert EMPTY_ROOT == Frontier().root == plain_root([])
    assert is_consistent(0, EMPTY_ROOT, 5, plain_root(HASHES[:5]), [])
    assert not is_consistent(0, bytes(32), 5, plain_root(HASHES[:5]), [])


@go_log.needs_go
def test_go_library() -> None:
    """Go's package for transparency logs accepts all our proofs, and none that is changed."""
    leaves = [b"%d" % number for number in range(300)]
    right, wrong = [], []
    for size in (1, 2, 3, 7, 8, 255, 256, 257, 300):
        root = grown(size).root
        for index in {0, size // 3, size // 2, size - 1}:
            path = prove_inclusion(index, size, stored)
            right.append(go_log.contains(leaves[index], index, size, root, path))
            wrong.append(go_log.contains(leaves[index], index, size, root, [*path, bytes(32)]))
            wrong.append(go_log.contains(leaves[index] + b"0", index, size, root, path))
            old = grown(index + 1).root
            proof = prove_consistency(index + 1, size, stored)
            right.append(go_log.continues(index + 1, old, size, root, proof))
            wrong.append(go_log.continues(index + 1, bytes(32), size, root, proof))
            wrong.append(go_log.continues(index + 1, old, size, root, [*proof, bytes(32)]))

    assert {True} == set(go_log.verdicts(right))
    assert {False} == set(go_log.verdicts(wrong))


def test_foreign_library() -> None:
    """A library that we did not write computes the same roots, and accepts our proofs."""
    foreign = pytest.importorskip("aics_tlog")
    leaves = [b"%d" % number for number in range(300)]
    tree = foreign.MerkleTree(leaves)
    for size in (1, 2, 3, 255, 256, 257, 300):
        root = grown(size).root
        assert root == tree.root(size)
        for index in {0, size // 2, size - 1}:
            proof = prove_inclusion(index, size, stored)
            assert foreign.verify_leaf_inclusion(leaves[index], index, size, proof, root)
            assert foreign.verify_consistency(
                index + 1, size, grown(index + 1).root, root, prove_consistency(index + 1, size, stored)
            )


def test_consistency_proof_beyond_any_tree() -> None:
    """A proof that begins with more entries than a tree can have is none."""
    at_most, beyond = (f"old {size}\n\nnote\n" for size in (MAX_SIZE, MAX_SIZE + 1))
    assert MAX_SIZE == parse_consistency(at_most).old
    with pytest.raises(ValueError, match="consistency proof"):
        parse_consistency(beyond)
