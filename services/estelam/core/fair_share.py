"""Bounds on connections and calls that their owners share, so that no owner excludes another."""

from collections import deque
from collections.abc import Callable, Collection, Hashable
from typing import TypeVar

T = TypeVar("T")


def displaced(items: Collection[T], owner: Callable[[T], Hashable], most: int) -> list[T]:
    """Return which of *items* have to go, so that *most* remain: again and again the oldest of the owner who has most.

    So an owner loses none to another who has more.

    Args:
        items: From the oldest to the newest.
        owner: Returns the owner of an item.
        most: The number of items that may remain.
    """
    if len(items) <= most:
        return []
    owned: dict[Hashable, deque[T]] = {}
    for item in items:
        owned.setdefault(owner(item), deque()).append(item)
    return [max(owned.values(), key=len).popleft() for _ in range(len(items) - most)]
