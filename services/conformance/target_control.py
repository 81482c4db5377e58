"""The two files by which the kit moves the target's clock and bars a certificate while it runs."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UserFacingError
from estelam.core.files import write_atomic


class SteeringError(UserFacingError):
    """A steering file can't be read or written; the text is for whoever runs the kit."""


class Steering:
    """The folder that the target reads anew at least each second: its clock is its machine's plus `offset`."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self._denied = folder / "denied"
        self._turn = threading.Lock()
        self._seconds = self._read()

    def now(self) -> datetime:
        """The target's time."""
        return self.at(time.time())

    def at(self, seconds: float) -> datetime:
        """The target's time when this machine's clock shows *seconds* since 1970."""
        return datetime.fromtimestamp(seconds + self._seconds, UTC)

    def go_to(self, instant: datetime) -> None:
        """Set the target's clock forward to *instant*; one that is past already is left as it is."""
        ahead = (instant - self.now()).total_seconds()
        if ahead > 0:
            self._seconds += int(ahead) + 1
            self._write(self._offset, f"{self._seconds}\n")

    def bar(self, fingerprint: str) -> None:
        """Put a certificate on the deny-list."""
        with self._turn:
            try:
                listed = self._denied.read_text("ascii")
            except (OSError, UnicodeDecodeError):
                raise SteeringError(f"{self._denied} can't be read") from None
            self._write(self._denied, f"{listed.rstrip()}\n{fingerprint}\n".lstrip())

    def _read(self) -> int:
        try:
            return int(self._offset.read_text("ascii"))
        except (OSError, ValueError):
            raise SteeringError(f"{self._offset} does not hold a whole number of seconds") from None

    @staticmethod
    def _write(path: Path, text: str) -> None:
        try:
            write_atomic(path, text)
        except OSError:
            raise SteeringError(f"{path} can't be written") from None


def half_past_midnight_after(noon: datetime) -> datetime:
    """00:30 in Iran of the day after *noon*'s."""
    local = noon.astimezone(TEHRAN)
    return (local.replace(hour=0, minute=30, second=0, microsecond=0) + timedelta(days=1)).astimezone(UTC)
