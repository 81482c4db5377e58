"""The clock that the steering file controls, and the calendar day in Iran."""

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

TEHRAN = ZoneInfo("Asia/Tehran")


class Clock:
    """The machine's clock plus the offset in the steering file *offset*, which is read each time."""

    def __init__(self, offset: Path) -> None:
        self._offset = offset

    def now(self) -> datetime:
        """Return the current time."""
        ahead = int(self._offset.read_text("ascii")) if self._offset.exists() else 0
        seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000) + timedelta(seconds=ahead)

    def day_in_iran(self) -> date:
        """Return the current calendar day in Iran."""
        return self.now().astimezone(TEHRAN).date()


def micros(instant: datetime) -> int:
    """Return *instant* in microseconds since 1970-01-01."""
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
