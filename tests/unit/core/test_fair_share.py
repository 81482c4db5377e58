"""Bounds that owners share."""

import pytest

from estelam.core.fair_share import displaced


@pytest.mark.parametrize(
    ("items", "gone"),
    [
        ([], []),
        (["a1", "b1", "b2", "b3"], []),
        (["a1", "b1", "b2", "b3", "c1"], ["b1"]),
        (["a1", "b1", "b2", "b3", "c1", "c2", "c3"], ["c1", "b1", "c2"]),
        (["b1", "b2", "c1", "c2", "c3"], ["c1"]),
        (["b1", "b2", "c1", "c2", "d1"], ["c1"]),
        (["a1", "b1", "c1", "d1", "e1"], ["a1"]),
    ],
)
def test_greediest_owner_is_displaced(items: list[str], gone: list[str]) -> None:
    """Each item too many displaces the oldest of the owner who has most."""
    assert gone == displaced(items, lambda item: item[0], 4)
