"""The steering files, by which the kit sets the target's clock, denies certificates and changes its data in a run."""

import json
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from estelam.core.clock import TEHRAN
from estelam.core.exceptions import UserFacingError
from estelam.core.files import write_atomic


class TargetControlError(UserFacingError):
    """A steering file can't be read or written; the text is for the user of the kit."""


class TargetControl:
    """The steering folder, which the target reads at least once a second.

    `offset` is added to its machine's clock; `denied` lists the keys of certificates to refuse; `changes` lists the
    changes of its data.
    """

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self._denied = folder / "denied"
        self._changes = folder / "changes"
        self._lock = threading.Lock()
        self._seconds = self._read()

    def now(self) -> datetime:
        """Return the target's time."""
        return self.at(time.time())

    def at(self, seconds: float) -> datetime:
        """Return the target's time at *seconds* since 1970 of this machine's clock."""
        return datetime.fromtimestamp(seconds + self._seconds, UTC)

    def go_to(self, instant: datetime) -> bool:
        """Set the target's clock forward to *instant*, unless that has passed; return whether it was set."""
        ahead = (instant - self.now()).total_seconds()
        if ahead > 0:
            self._seconds += int(ahead) + 1
            self._write(self._offset, f"{self._seconds}\n")
        return ahead > 0

    def deny(self, key: str) -> None:
        """Add the certificates of a public key (SHA-256) to the target's deny list."""
        self._append(self._denied, key)

    def change(self, change: Mapping[str, Any]) -> None:
        """Add *change* to the changes of the target's data."""
        self._append(self._changes, json.dumps(change, ensure_ascii=False))

    def _append(self, path: Path, line: str) -> None:
        with self._lock:
            try:
                listed = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                raise TargetControlError(f"{path} can't be read") from None
            self._write(path, f"{listed.rstrip()}\n{line}\n".lstrip())

    def _read(self) -> int:
        try:
            return int(self._offset.read_text("ascii"))
        except (OSError, ValueError):
            raise TargetControlError(f"{self._offset} does not hold a whole number of seconds") from None

    @staticmethod
    def _write(path: Path, text: str) -> None:
        try:
            write_atomic(path, text)
        except OSError:
            raise TargetControlError(f"{path} can't be written") from None


def half_past_midnight_after(noon: datetime) -> datetime:
    """Return 00:30 in Iran of the day after *noon*'s."""
    local = noon.astimezone(TEHRAN)
    return (local.replace(hour=0, minute=30, second=0, microsecond=0) + timedelta(days=1)).astimezone(UTC)
