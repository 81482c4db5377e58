"""Results of submitted forms, kept in memory for a while at addresses that only their owner can read.

A form is answered by a redirect to its result (POST, redirect, GET), so a reload, Back and the other language show the
result again and ask nothing. Each process keeps its own, and forgets them when it restarts.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from estelam.core.fair_share import displaced

ADDRESS_BYTES = 16
"""Random bytes of an address, which nobody can guess."""

T = TypeVar("T")


class Owner(NamedTuple):
    """Who may read a result: the browser that sent the form, and the officer who used it."""

    browser: str
    """The value of the browser's cookie."""
    officer: str
    """The officer's name; empty where the login proxy names none."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    owner: Owner
    result: T
    until: float


class Results(Generic[T]):
    """Keeps results; the bound displaces the oldest of the browser that has most.

    Args:
        most: How many results are kept, at most.
        seconds: For how long each is kept.
        monotonic: The clock, in seconds.
    """

    def __init__(self, most: int, seconds: float, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._monotonic = monotonic
        self._kept: dict[str, _Kept[T]] = {}
        """By address, from the oldest to the newest."""

    def keep(self, owner: Owner, result: T) -> str:
        """Keep *result* for *owner*; return its address, of letters, digits, `-` and `_`."""
        self._forget_expired()
        address = secrets.token_urlsafe(ADDRESS_BYTES)
        self._kept[address] = _Kept(owner, result, self._monotonic() + self._seconds)
        for gone in displaced(self._kept, lambda each: self._kept[each].owner.browser, self._most):
            del self._kept[gone]
        return address

    def find(self, owner: Owner, address: str) -> T | None:
        """Return the result at *address*; None if there is none, it is another owner's, or its time has passed."""
        self._forget_expired()
        kept = self._kept.get(address)
        return kept.result if kept and kept.owner == owner else None

    def _forget_expired(self) -> None:
        now = self._monotonic()
        for address in [address for address, kept in self._kept.items() if kept.until <= now]:
            del self._kept[address]
