"""Token buckets that the workers of one host share: a table in a file, which each of them maps into memory.

A bucket's place follows from a hash of caller, method and quota. The lock is `flock`'s, which the kernel releases when
its holder ends. Instants are those of the system's monotonic clock, which is one for all processes.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import threading
import time
import weakref
from collections.abc import Hashable
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


def rate_limiter(settings: ServingSettings, clock: Clock) -> RateLimiter:
    """Return the rate limiter that *settings* demand.

    Raises:
        QuotaTableError: the file of the table is something else.
        OSError: it can't be opened.
    """
    if settings.quota_table is None:
        return RateLimiter(clock, hosts=settings.quota_hosts)
    return RateLimiter(clock, SharedBuckets(settings.quota_table).bucket, settings.quota_hosts)


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
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._lock = _FileLock(descriptor)
        if os.fstat(descriptor).st_size not in {0, _SIZE}:
            raise QuotaTableError(f"{path}: is no table of quotas; name a new file in quota_table")
        os.truncate(descriptor, _SIZE)
        self._map = mmap.mmap(descriptor, _SIZE)

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


class _FileLock:
    """A lock between threads and processes, on the open file *descriptor*.

    A process that was stopped while it held the lock does not stop the others for long: they go on without it, and may
    then miscount a token. So do they where the file can't be locked. The file is closed once nobody can use the lock: a
    late call must not lock another file that was opened under its number.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._threads = threading.Lock()
        weakref.finalize(self, os.close, descriptor)

    def __enter__(self) -> None:
        self._threads.acquire()
        with contextlib.suppress(OSError):
            for _ in range(_LOCK_ATTEMPTS):
                try:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(_LOCK_PAUSE_SECONDS)
                else:
                    return

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()
