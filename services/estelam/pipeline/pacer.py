"""Spaces the replies that a caller gets without a quota: refusals, and the health of the service."""

from collections.abc import Callable, Hashable
from typing import Final

from estelam.auth.rate_limit import Throttle
from estelam.core.clock import Clock
from estelam.pipeline.timers import Timers

MAX_DELAY_SECONDS: Final = 2.0
"""The longest delay of a reply to a caller who keeps sending."""


class Pacer:
    """Calls functions that reply: at once, or in its turn for a caller who gets too many replies."""

    def __init__(self, timers: Timers, clock: Clock) -> None:
        self._timers = timers
        self._throttle = Throttle(clock)

    def run_in_turn(self, caller: Hashable, seconds_left: float, reply: Callable[[], None]) -> None:
        """Call *reply* now or, in another thread, within half of the *seconds_left* to the caller's deadline."""
        if delay := self.delay(caller, seconds_left):
            self._timers.after(delay, reply)
        else:
            reply()

    def delay(self, caller: Hashable, seconds_left: float) -> float:
        """Return the seconds until the turn of *caller*, whose next one begins after it."""
        return self._throttle.delay(caller, min(max(0.0, seconds_left) / 2, MAX_DELAY_SECONDS))
