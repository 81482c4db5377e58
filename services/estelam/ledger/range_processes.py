"""Verification of the ranges of a ledger by several processes, each with a connection and a snapshot of its own."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from estelam.core.keys import VerifyingKey
from estelam.ledger.archives import Archives
from estelam.ledger.verified_ranges import Range, Snapshot, VerifiedRange
from estelam.storage.store import Store, StoreError

_SPAWN = multiprocessing.get_context("spawn")
RANGES_AHEAD = 2
"""How many ranges each process may be ahead of what was yielded: the memory of what they found is bounded."""


@dataclass(frozen=True, slots=True)
class LedgerLocation:
    """Where a process finds a ledger, and what it verifies it with."""

    store: str
    """The address of the store."""
    service: str
    archive: Path | None
    """The folder of the archived entries."""
    start: int
    """The number of entries before the first range."""
    keys: Mapping[str, VerifyingKey]


def verify_in_processes(ledger: LedgerLocation, jobs: int, ranges: Sequence[Range]) -> Generator[VerifiedRange]:
    """Verify *ranges* of a ledger in up to *jobs* processes; yield what each was found to hold, in their order.

    Each process reads a snapshot of its own, which may be newer than the caller's: entries and commits are only added,
    and the confirmations are compared with the annulments and times of the same snapshot.

    Raises:
        LedgerCorruptError, LedgerUncheckedError: at the first fault of the first range that has one.
        StoreError: a process ended early, or can't use the store or a file: that says nothing of the ledger.
    """
    pool = ProcessPoolExecutor(jobs, mp_context=_SPAWN, initializer=_start, initargs=(ledger,))
    rest, running = iter(ranges), deque[Future[VerifiedRange]]()
    try:
        running.extend(pool.submit(_verify, part) for part in islice(rest, jobs * RANGES_AHEAD))
        while running:
            found = running.popleft().result()
            running.extend(pool.submit(_verify, part) for part in islice(rest, 1))
            yield found
    except BrokenProcessPool:
        raise StoreError(
            "a process that verified a part of the ledger ended early, as where memory runs out; the ledger is not "
            "verified: run the command again, with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


_ledger: LedgerLocation


def _start(ledger: LedgerLocation) -> None:
    """Prepare a process of the pool: an interrupt ends the parent, and the end of the parent ends it."""
    global _ledger  # noqa: PLW0603 - the pool passes it once to each process
    _ledger = ledger
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _verify(part: Range) -> VerifiedRange:
    return _snapshot().verify(part)


@cache
def _snapshot() -> Snapshot:
    """Open the ledger once for all ranges that this process verifies."""
    stack = ExitStack()
    atexit.register(stack.close)
    store = stack.enter_context(closing(Store(_ledger.store)))
    connection = stack.enter_context(store.transaction())
    archives = stack.enter_context(Archives(connection, _ledger.service, _ledger.archive, _ledger.start))
    return Snapshot(connection, _ledger.keys, archives.connections, _ledger.start)
