"""Values that are loaded from files, and loaded again when the files change."""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

CREDENTIALS_STILL_SECONDS = 1.0
"""A server reads certificates and keys again once none of their files has changed for so long."""

Stamp = tuple[int, int, int, int] | None
"""Modification and change time in nanoseconds, size in bytes and inode of a file; None where there is no file."""


def file_stamp(path: Path) -> Stamp:
    """Return what changes when the file at *path* is rewritten or replaced.

    Raises:
        OSError: the file may exist, but its status can't be read.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class FileReloader(Generic[T]):
    """A value loaded from files, and loaded again when one of them changes.

    The files are compared by their stamps, which are taken before the value is loaded: a change during a load is found
    by the next check. A load that fails, whatever the error, leaves the last value in place, and the next check loads
    again: no content of a file may fail the inquiries of a running service.

    Args:
        files: Returns the files that the value depends on.
        load: Reads the files and returns the value.
        failed: Logs the error of a load that leaves the last value in place; called once for each in a row.
        interval_seconds: The least time between two checks.
        monotonic: The clock of the interval, in seconds.
        initial: A value to begin with where the files are missing. Without it the first check loads the value.
        still_seconds: Changed files are loaded once none has changed for so long, by the time of the file system. So
            files that are written one after the other are loaded together, and many changes are one load.
    """

    def __init__(
        self,
        files: Callable[[], Iterable[Path]],
        load: Callable[[], T],
        *,
        failed: Callable[[Exception], None],
        interval_seconds: float = 0.0,
        monotonic: Callable[[], float] = time.monotonic,
        initial: T | None = None,
        still_seconds: float = 0.0,
    ) -> None:
        self._files = files
        self._load = load
        self._failed = failed
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._still_seconds = still_seconds
        self._lock = threading.Lock()
        self._next_check = 0.0
        self._value = initial
        self._stamps: tuple[Stamp, ...] | None = None
        self._failure: str | None = None

    @property
    def value(self) -> T:
        """The value that was loaded last.

        Raises:
            RuntimeError: there is none yet.
        """
        if self._value is None:
            raise RuntimeError("the value has not been loaded yet")
        return self._value

    @property
    def is_loaded(self) -> bool:
        """Whether there is a value, loaded or initial."""
        return self._value is not None

    @property
    def is_current(self) -> bool:
        """Whether the value is that of the files as they were checked last; False after a load that failed."""
        return self._failure is None

    def refresh(self) -> bool:
        """Load the value if a file has changed; return whether it was loaded.

        A failure that leaves the last value in place is reported once, until it changes or a load succeeds. A check
        within the interval after the last one does nothing. The first load begins no interval, so that a change right
        after it is found by the next check. Several threads may call it; one of them loads, and the others wait for it.

        Raises:
            OSError: there is no value yet, and the status of a file can't be read.
            Exception: there is no value yet, and the load function raised it.
        """
        if self._is_fresh():
            return False
        with self._lock:
            try:
                return self._refresh()
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
                if self._value is None:
                    raise
                if failure != self._failure:
                    self._failed(error)
                self._failure = failure
                return False

    def _is_fresh(self) -> bool:
        return self._value is not None and self._monotonic() < self._next_check

    def _refresh(self) -> bool:
        if self._is_fresh():
            return False
        next_check = self._next_check if self._value is None else self._monotonic() + self._interval_seconds
        try:
            return self._load_changed()
        finally:
            # Only now: other threads wait for a load that has begun, instead of going on with the value before it.
            self._next_check = next_check

    def _load_changed(self) -> bool:
        stamps = tuple(file_stamp(path) for path in self._files())
        if self._value is not None and not self._are_still(stamps):
            return False
        is_changed = self._value is None or stamps != self._known(stamps)
        if is_changed:
            self._value = self._load()
            self._stamps = stamps
        self._failure = None
        return is_changed

    def _known(self, stamps: tuple[Stamp, ...]) -> tuple[Stamp, ...]:
        # An initial value stands for missing files.
        return self._stamps if self._stamps is not None else (None,) * len(stamps)

    def _are_still(self, stamps: tuple[Stamp, ...]) -> bool:
        newest = max((stamp[1] for stamp in stamps if stamp), default=0)
        # After a step of the clock the newest change may lie in the future.
        return not 0 <= time.time() - newest / 1e9 < self._still_seconds
