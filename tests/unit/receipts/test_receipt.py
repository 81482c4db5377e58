"""Merkle trees, checked against the test vectors of RFC 6962's reference implementation and a recursive one."""

import hashlib

import pytest

from estelam.receipts.problems import InvalidReceipt
from estelam.receipts.receipt import leaf_hash, merkle_levels, merkle_path, root_from_path

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


def plain_root(leaves: list[bytes]) -> bytes:
    """The RFC's own recursive definition."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + plain_root(leaves[:split]) + plain_root(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_reference_roots(size: int) -> None:
    """The roots equal those of the reference implementation."""
    assert merkle_levels([leaf_hash(leaf) for leaf in LEAVES[:size]])[-1][0].hex() == ROOTS[size - 1]


@pytest.mark.parametrize("size", [*range(1, 34), 63, 64, 65, 100])
def test_every_path_leads_to_root(size: int) -> None:
    """Every leaf of every tree has a path to its root."""
    leaves = [str(index).encode() for index in range(size)]
    levels = merkle_levels([leaf_hash(leaf) for leaf in leaves])

    assert plain_root(leaves) == levels[-1][0]
    for index, leaf in enumerate(leaves):
        assert levels[-1][0] == root_from_path(leaf_hash(leaf), index, size, merkle_path(levels, index))


@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_path_length(size: int) -> None:
    """A path with a node too few or too many is refused."""
    levels = merkle_levels([leaf_hash(bytes([index])) for index in range(size)])
    path = merkle_path(levels, 0)

    for wrong in (path[:-1], [*path, bytes(32)]):
        with pytest.raises(InvalidReceipt):
            root_from_path(leaf_hash(b"\0"), 0, size, wrong)


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (1, 1), (8, 8), (0, 0)])
def test_index_outside_tree(index: int, size: int) -> None:
    """An index outside the tree is refused."""
    with pytest.raises(InvalidReceipt):
        root_from_path(bytes(32), index, size, [])
