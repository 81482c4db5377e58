"""Clocks, passed as arguments: wall time and monotonic time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

# A time zone, not an offset: Iran had summer time until 2022.
TEHRAN = ZoneInfo("Asia/Tehran")
CLOCK_TOLERANCE = timedelta(minutes=1)
"""Greatest difference allowed between the clocks of hosts that work together."""


def _wall_micros() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock and a monotonic clock; tests replace them."""

    micros: Callable[[], int] = _wall_micros
    """Wall time in microseconds since 1970-01-01 UTC."""
    monotonic: Callable[[], float] = time.monotonic
    """Monotonic time in seconds."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        return to_datetime(self.micros())


def monotonic_wall_clock(clock: Clock) -> Clock:
    """Return a clock whose wall time never falls behind the monotonic time that has passed since this call.

    A clock that is set forward is followed, since a machine that was suspended is right to be ahead; a later correction
    is followed too, but not below the monotonic time.
    """
    start_micros, start = clock.micros(), clock.monotonic()

    def micros() -> int:
        return max(clock.micros(), start_micros + int((clock.monotonic() - start) * 1e6))

    return Clock(micros, clock.monotonic)


def to_datetime(micros: int) -> datetime:
    """Return the UTC instant *micros* microseconds after 1970-01-01."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def to_micros(instant: datetime) -> int:
    """Return the microseconds from 1970-01-01 to *instant*.

    Raises:
        ValueError: *instant* has no time zone.
    """
    if instant.tzinfo is None:
        raise ValueError("an instant must have a time zone")
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond
