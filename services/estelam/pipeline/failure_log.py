"""Limits how often the log repeats a failure that lasts, such as a store whose files were removed."""

from collections.abc import Callable
from dataclasses import dataclass

from estelam.core.exceptions import problem

REPEAT_SECONDS = 60.0
"""How long the same failure is counted before it is logged again."""


@dataclass(slots=True)
class _Last:
    failure: tuple[str, str]
    logged_at: float
    unlogged: int = 0


class FailureLog:
    """Which failures to log: each that differs from the last one of its event, and the same one again after a minute.

    Args:
        monotonic: The clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, _Last] = {}

    def unlogged(self, event: str, error: Exception) -> int | None:
        """Return how many failures of *event* were not logged before *error*; None if it is not to be logged either."""
        failure, now = (type(error).__name__, problem(error)), self._monotonic()
        last = self._last.get(event)
        if last and last.failure == failure and now - last.logged_at < REPEAT_SECONDS:
            last.unlogged += 1
            return None
        self._last[event] = _Last(failure, now)
        return last.unlogged if last else 0
