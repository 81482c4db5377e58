"""Time as an argument: what the calendar says, and what has passed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

# By the zone's own rules: summer time was kept until 2022.
TEHRAN = ZoneInfo("Asia/Tehran")
CLOCK_TOLERANCE = timedelta(minutes=1)
"""By how much the clocks of hosts that work together may differ."""


def _wall_micros() -> int:
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock in microseconds since 1970 (UTC) and a monotonic clock in seconds; tests set their own."""

    micros: Callable[[], int] = _wall_micros
    monotonic: Callable[[], float] = time.monotonic

    def now(self) -> datetime:
        """This instant, in UTC."""
        return to_datetime(self.micros())


def monotonic_wall_clock(clock: Clock) -> Clock:
    """*clock*, never set back: from now on its wall clock goes at least as fast as its monotonic one.

    A clock that is set forward is followed, since a machine that slept is right to be ahead; one that is then set right
    is followed too.
    """
    began, since = clock.micros(), clock.monotonic()

    def micros() -> int:
        return max(clock.micros(), began + int((clock.monotonic() - since) * 1e6))

    return Clock(micros, clock.monotonic)


def to_datetime(micros: int) -> datetime:
    """The UTC instant *micros* microseconds after 1970-01-01."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def to_micros(instant: datetime) -> int:
    """Microseconds from 1970-01-01 to *instant*, which must name its zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant must name its time zone")
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond
