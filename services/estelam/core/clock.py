"""Clocks, passed as arguments: wall time and monotonic time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, reset_tzpath

from estelam.core.exceptions import UserFacingError

_KNOWN_OFFSETS = {2021: timedelta(hours=4.5), 2022: timedelta(hours=4.5), 2023: timedelta(hours=3.5)}
"""The offset from UTC in Iran at noon on 1 July of each year: summer time ended for good in 1401 (2022)."""


class TimeZoneDataError(UserFacingError):
    """The time-zone data of this installation is missing or wrong."""


def load_tehran() -> ZoneInfo:
    """Load the zone Asia/Tehran from the package tzdata, whatever data the system or PYTHONTZPATH has, and check it.

    A host's own data may be older than the end of Iran's summer time: every month and outage would be an hour off.

    Raises:
        TimeZoneDataError: the package is missing, or its data lacks a known change of Iran's time.
    """
    reset_tzpath(to=())
    ZoneInfo.clear_cache(only_keys=["Asia/Tehran"])
    try:
        zone = ZoneInfo("Asia/Tehran")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise TimeZoneDataError("the package tzdata is missing or damaged; run: pip install --upgrade tzdata") from None
    for year, offset in _KNOWN_OFFSETS.items():
        if datetime(year, 7, 1, 12, tzinfo=zone).utcoffset() != offset:
            raise TimeZoneDataError(
                f"the package tzdata has a wrong time for Iran in July {year}; run: pip install --upgrade tzdata"
            )
    return zone


TEHRAN = load_tehran()
"""Iran's time zone. Not an offset: Iran had summer time until 2022."""
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
