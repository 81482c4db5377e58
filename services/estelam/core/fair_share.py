"""Bounds on connections and calls that their owners share, so that no owner excludes another."""

from collections import deque
from collections.abc import Callable, Collection, Hashable
from typing import TypeVar

T = TypeVar("T")


def displaced(items: Collection[T], owner: Callable[[T], Hashable], most: int) -> list[T]:
    """Return which of *items* have to go, so that *most* remain: again and again the oldest of the owner who has most.

    Of several who have most it is the one with the newest item, so that an owner loses none to another who has as many
    and adds to them; but where all have one, it is the oldest: a newcomer is not excluded.

    Args:
        items: From the oldest to the newest.
        owner: Returns the owner of an item.
        most: The number of items that may remain.
    """
    if len(items) <= most:
        return []
    owned: dict[Hashable, deque[tuple[int, T]]] = {}
    for place, item in enumerate(items):
        owned.setdefault(owner(item), deque()).append((place, item))
    return [max(owned.values(), key=_greed).popleft()[1] for _ in range(len(items) - most)]


def _greed(owned: deque[tuple[int, T]]) -> tuple[int, int]:
    newest = owned[-1][0] if owned else 0
    return len(owned), newest if len(owned) > 1 else -newest
