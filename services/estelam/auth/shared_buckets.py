"""Token buckets that the workers of one host share: a table in a file, which each of them maps into memory.

A bucket's place follows from a hash of caller, method and quota. The lock is `flock`'s, which the kernel releases when
its holder ends. Instants are those of the system's monotonic clock, which is one for all processes.
"""

import fcntl
import mmap
import os
import struct
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final

from estelam.auth.grants import Quota
from estelam.auth.rate_limit import RateLimiter, TokenBucket
from estelam.core.clock import Clock
from estelam.core.exceptions import UserFacingError
from estelam.core.files import create_private_file
from estelam.core.settings import ServingSettings

GROUPS: Final = 1024
WAYS: Final = 8
"""Buckets whose hashes lead to one group."""
_HASH_BYTES: Final = 16
_SLOT: Final = struct.Struct(f"={_HASH_BYTES}sdd")
"""A bucket: the hash, or zeros; the tokens; the instant of the last refill."""
_SIZE: Final = GROUPS * WAYS * _SLOT.size
_LOCK_ATTEMPTS: Final = 20
_LOCK_PAUSE_SECONDS: Final = 0.000_1


@contextmanager
def rate_limiter(settings: ServingSettings, clock: Clock) -> Iterator[RateLimiter]:
    """Yield the rate limiter that *settings* demand.

    Raises:
        QuotaTableError: the file of the table is something else.
        OSError: it can't be opened.
    """
    if settings.quota_table is None:
        yield RateLimiter(clock, hosts=settings.quota_hosts)
        return
    with closing(SharedBuckets(settings.quota_table)) as table:
        yield RateLimiter(clock, table, settings.quota_hosts)


class QuotaTableError(UserFacingError):
    """The file of the table is something else."""


class SharedBuckets:
    """The table in the file *path*, which is created if there is none, as one process sees it.

    Raises:
        QuotaTableError: the file is something else.
        OSError: it can't be created or opened.
    """

    def __init__(self, path: Path) -> None:
        create_private_file(path)
        self._file = path.open("r+b")
        if os.fstat(self._file.fileno()).st_size not in {0, _SIZE}:
            self._file.close()
            raise QuotaTableError(f"{path}: is no table of quotas; name a new file in quota_table")
        self._file.truncate(_SIZE)
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._lock = _FileLock(self._file.fileno())

    def bucket(self, caller: Hashable, policy: str, quota: Quota, now: float) -> TokenBucket:
        """Return the bucket of one caller, method and quota: full if no process has used it before.

        Where a group is full, which takes thousands of callers, it is one of this process alone.
        """
        text = f"{caller}\0{policy}\0{quota.rate!r}\0{quota.burst}\0{quota.miss_cost}"
        key = blake2b(text.encode(), digest_size=_HASH_BYTES).digest()
        first = int.from_bytes(key[:4]) % GROUPS * WAYS * _SLOT.size
        with self._lock:
            for offset in range(first, first + WAYS * _SLOT.size, _SLOT.size):
                found, _, _ = _SLOT.unpack_from(self._map, offset)
                if not any(found):
                    _SLOT.pack_into(self._map, offset, key, float(quota.burst), now)
                elif found != key:
                    continue
                state = memoryview(self._map)[offset + _HASH_BYTES : offset + _SLOT.size].cast("d")
                return TokenBucket(quota, state, self._lock)
        return TokenBucket.full(quota, now)

    def close(self) -> None:
        """Close the file; buckets stay usable in this process."""
        self._file.close()


class _FileLock:
    """A lock between threads and processes.

    A process that was stopped while it held the lock does not stop the others for long: they go on without it, and may
    then miscount a token.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._threads = threading.Lock()

    def __enter__(self) -> None:
        self._threads.acquire()
        for _ in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_SECONDS)
            else:
                return

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._threads.release()
