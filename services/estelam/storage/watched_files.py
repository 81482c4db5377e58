"""Notices what happens to the files of a SQLite store while a process uses them.

SQLite keeps its files open. It writes on to a file that was removed or replaced, so that what it acknowledges is lost
at the next start; and what it reads of a file that was written over may be the facts of another day. So before each
transaction, and before its answers are sent, the files are compared with what they were:

- The database, its log (-wal) and its shared memory (-shm) are the same files as before, and not shorter. Memory
  that is mapped from a file that was cut off ends the process at the next access (SIGBUS), so it is compared first.
- Database and log have the size and the time of change that they were left with. The ledger is changed by its own
  process alone. The facts are changed by processes that announce it (`announced_writer`).
- The log begins with a valid header.

It opens no file that SQLite locks: closing it would release SQLite's locks in this process. Not noticed is what is
written over within a file during a commit, in the facts while a load writes, and in the shared memory.
"""

import contextlib
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from estelam.core.files import PRIVATE_FILE

# https://www.sqlite.org/fileformat2.html, section 4.1: the byte order of the checksum, by the first four bytes.
_LOG_HEADER_BYTES = 32
_CHECKSUM_ORDERS = {b"\x37\x7f\x06\x82": "<", b"\x37\x7f\x06\x83": ">"}


class Writers(Enum):
    """Who may change the content of a half of a store."""

    SELF = "self"
    """This process alone."""
    ANNOUNCED = "announced"
    """Other processes, each of which is an `announced_writer`."""
    ANY = "any"
    """Any process that SQLite lets write."""


class _State(NamedTuple):
    device: int
    inode: int
    size: int
    changed_nanoseconds: int


class WatchedHalf:
    """The files of one half of a store.

    Args:
        database: The database's file.
        writers: Who may change it.
    """

    def __init__(self, database: Path, writers: Writers) -> None:
        file = database.resolve()  # SQLite has the others beside it
        self._paths = (f"{database}", f"{file}-wal", f"{file}-shm")
        self._announcement = _announcement(database)
        self.writers = writers
        self._states: Sequence[_State | None] = (None, None, None)
        self._announced: int | None = None
        self._is_written = False
        """Whether an announced writer was at work when the files were looked at last."""

    def adopt(self) -> None:
        """Take the files as they are now for what they must be, after this process has opened or changed them."""
        if self.writers is Writers.ANNOUNCED:
            self._announced, self._is_written = _time_of_change(self._announcement), _is_locked(self._announcement)
        self._states = self._now()

    def release(self) -> None:
        """Take the files as they are now, after this process has closed them: the last one to do so removes the log."""
        self.adopt()
        if self.writers is not Writers.SELF:
            self._states = (self._states[0], None, None)

    def change(self) -> str | None:
        """Return what has happened to the files since they were looked at last; None: nothing that may not happen."""
        was_written = self._is_written
        if was_written:
            self._is_written = _is_locked(self._announcement)
        now = self._now()
        if now == self._states:
            return None
        if problem := self.other_file(now):
            return problem
        if written := self._different(now):
            if not self._may_be_written(was_written=was_written):
                return f"{written} was written over"
            now = self._now()
            if problem := self._damage(now):
                return problem
        self._states = now
        return None

    def change_by_commit(self) -> str | None:
        """Return what has happened to the files during a commit of this process; None: they are what it has made."""
        if self.writers is not Writers.SELF:
            return None
        now = self._now()
        if now == self._states:
            return None
        if problem := self.other_file(now) or self._damage(now):
            return problem
        self._states = now
        return None

    @property
    def keeps_content(self) -> bool:
        """Whether the database is unchanged, and the log is unchanged or just removed.

        SQLite has a removed log open, and moves its content to the database when the last connection is closed. A
        reader that came later may have begun an empty one.
        """
        database, log, _ = self._now()
        was = self._states[1]
        removed = log is None or (was is not None and log.size == 0 and log[:2] != was[:2])
        return database == self._states[0] and (log == was or removed)

    def _now(self) -> tuple[_State | None, ...]:
        return tuple(map(_state, self._paths))

    def other_file(self, now: Sequence[_State | None] | None = None) -> str | None:
        """Return which file is not the one that it was."""
        for path, was, one in zip(self._paths, self._states, now or self._now(), strict=True):
            if was and one is None:
                return f"{path} was removed"
            if was and one and one[:2] != was[:2]:
                return f"{path} was replaced"
        return f"{self._paths[2]} was cut off" if self.is_memory_cut_off(now) else None

    def is_memory_cut_off(self, now: Sequence[_State | None] | None = None) -> bool:
        """Whether the shared memory is shorter than it was: SQLite never makes it so while a process has it open."""
        was, memory = self._states[2], (now or self._now())[2]
        return was is not None and memory is not None and memory.size < was.size

    def _different(self, now: Sequence[_State | None]) -> str | None:
        """Return the path of the database or the log, if its content differs from what it was."""
        pairs = zip(self._paths[:2], self._states, now, strict=False)
        return next((path for path, was, one in pairs if was and one and was != one), None)

    def _damage(self, now: Sequence[_State | None]) -> str | None:
        """Return what a process that writes to the database by SQLite can't have done to it."""
        if self.writers is Writers.ANY:
            return None
        pairs = zip(self._paths[:2], self._states, now, strict=False)
        if shorter := next((path for path, was, one in pairs if was and one and one.size < was.size), None):
            return f"{shorter} was cut off"
        log = now[1]
        if log and log != self._states[1] and log.size and not _has_log_header(self._paths[1]):
            return f"{self._paths[1]} was written over"
        return None

    def _may_be_written(self, *, was_written: bool) -> bool:
        """Whether a process that may do so has written since the files were looked at last."""
        if self.writers is not Writers.ANNOUNCED:
            return self.writers is Writers.ANY
        announced = _time_of_change(self._announcement)
        if not was_written and announced == self._announced:
            return False
        self._announced, self._is_written = announced, _is_locked(self._announcement)
        return True


@contextmanager
def announced_writer(database: Path) -> Iterator[None]:
    """Announce, to the processes that watch *database*, that this one may write to it during the block.

    It locks a file beside the database, and changes its time first: so each watcher sees a writer that works, and one
    that has come and gone.

    Raises:
        OSError: the file can't be written.
    """
    descriptor = os.open(_announcement(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        _share_owner(descriptor, database)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        now = time.time_ns()
        os.utime(descriptor, ns=(now, now))
        yield
    finally:
        os.close(descriptor)


def _announcement(database: Path) -> str:
    return f"{database}-writer"


def _share_owner(descriptor: int, database: Path) -> None:
    """Give the file *descriptor* the owner and the mode of *database*, as SQLite does for the files beside it."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found = database.stat()
        os.fchown(descriptor, found.st_uid, found.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _state(path: str) -> _State | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, with every batch
    except FileNotFoundError:
        return None
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _time_of_change(path: str) -> int | None:
    found = _state(path)
    return found and found.changed_nanoseconds


def _is_locked(path: str) -> bool:
    """Return whether a writer has locked the file *path*; also where that can't be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _has_log_header(path: str) -> bool:
    """Return whether the log *path*, which SQLite does not lock, begins with a header whose checksum is right."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        header = os.read(descriptor, _LOG_HEADER_BYTES)
    finally:
        os.close(descriptor)
    order = _CHECKSUM_ORDERS.get(header[:4])
    if order is None or len(header) < _LOG_HEADER_BYTES:
        return False
    first = second = 0
    for one, other in struct.iter_unpack(f"{order}II", header[:24]):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second) == header[24:]
