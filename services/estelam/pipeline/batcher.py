"""Batches inquiries: a bounded, fair queue in front of one worker thread; each batch is one transaction.

What arrives during one transaction is the next batch. So a lone caller waits for nothing, and many share a commit. The
thread that gathers, gRPC's, says when a batch begins: it has then submitted all that has arrived, and waits, so that
the two threads do not compete for the interpreter. What another thread submits, as the JSON API's, begins at once.
Each caller has a queue of its own, and all queues advance equally: a flood from one caller delays no other.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from estelam.core.errors import Reason, Refusal
from estelam.pipeline.timers import Timers

log = structlog.get_logger()

# The pause after a fault before the next batch.
RETRY_PAUSE_SECONDS = 0.01

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Sizes of the queue and of a batch, in entries."""

    size: int = 128
    queue: int = 1024
    short: int = 32
    """The batch size while more than two full batches are queued: short batches keep new arrivals from waiting long."""


class Entry(Generic[T, R]):
    """One submitted item. It is settled once: with a result, an error, or because nobody waits for it any more."""

    __slots__ = ("_done", "_settling", "_timer", "item")

    def __init__(self, item: T, done: Callable[[R | Exception], None]) -> None:
        self.item = item
        self._done = done
        self._settling = threading.Lock()
        self._timer: Any = None

    @property
    def is_settled(self) -> bool:
        """Whether somebody has settled it."""
        return self._settling.locked()

    def settle(self, result: R | Exception) -> None:
        """Pass on *result*, in this thread, unless the entry has been settled."""
        if self._settling.acquire(blocking=False):
            try:
                self._done(result)
            except BaseException:
                self._settling.release()  # the error is to be passed on instead
                raise
            self._timer.cancel()

    def abandon(self) -> None:
        """Pass nothing on: the caller waits no more."""
        if self._settling.acquire(blocking=False):
            self._timer.cancel()

    def expire_after(self, seconds: float, timers: Timers) -> None:
        """Settle the entry with ANSWER_LATE in *seconds*, whatever the worker is doing then."""
        self._timer = timers.after(seconds, self._expire)

    def _expire(self) -> None:
        self.settle(Refusal(Reason.ANSWER_LATE))


class FairQueue(Generic[T, R]):
    """One queue for each key; all queues advance equally."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._queues: dict[str, deque[Entry[T, R]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def __bool__(self) -> bool:
        return bool(self._queues)  # a queue that is empty is removed

    def append(self, key: str, entry: Entry[T, R]) -> Entry[T, R] | None:
        """Add *entry* to the queue of *key*; if all is full, remove and return the last entry of the longest queue.

        Raises:
            Refusal: OVERLOADED, if the entry to remove would be this one.
        """
        last: Entry[T, R] | None = None
        if len(self) >= self._bound:
            longest = max(self._queues.values(), key=len)
            if len(self._queues.get(key, ())) + 1 >= len(longest):
                raise Refusal(Reason.OVERLOADED)
            last = longest.pop()
        self._queues.setdefault(key, deque()).append(entry)
        return last

    def move(self, batch: list[Entry[T, R]], most: int) -> None:
        """Move an equal share of each queue to *batch*, up to *most* entries; a served queue goes to the back."""
        share = max(1, (most - len(batch)) // len(self._queues))
        for key in list(self._queues)[:most]:
            queue = self._queues[key]
            for _ in range(min(share, len(queue))):
                batch.append(queue.popleft())
                # An entry whose caller has stopped waiting is dropped before any work is done for it.
                if batch[-1].is_settled:
                    batch.pop()
            if queue:
                self._queues[key] = self._queues.pop(key)
            else:
                del self._queues[key]


class Batcher(Generic[T, R]):
    """Passes submitted entries to *work* in batches, in one thread; *observe* gets the size of each batch."""

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        limits: BatchLimits,
        timers: Timers,
        *,
        observe: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._work = work
        self._limits = limits
        self._timers = timers
        self._observe = observe
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._batch_ended = threading.Condition(self._lock)
        self._batches = 0
        self._queue: FairQueue[T, R] = FairQueue(limits.queue)
        self._gathering: int | None = None
        """The thread whose entries wait for `run_waiting`."""
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
        self._thread.start()

    def submit(
        self, item: T, seconds: float, done: Callable[[R | Exception], None], queue_key: str = ""
    ) -> Entry[T, R]:
        """Pass the result of *work* for *item*, which waits in the queue of *queue_key*, to *done*, in any thread.

        An item of the thread that gathers waits for `run_waiting`; while a batch is running, every item waits for the
        end of that one. In place of a result there may be an error of the work; or a Refusal: ANSWER_LATE after
        *seconds*, OVERLOADED if another caller needed the place in the queue. An item already in a batch is finished
        nevertheless: a timeout ends the waiting, not the commit.

        Raises:
            Refusal: OVERLOADED if the queue is full and this caller's is the longest.
        """
        entry: Entry[T, R] = Entry(item, done)
        entry.expire_after(seconds, self._timers)
        try:
            with self._lock:
                last = self._queue.append(queue_key, entry)
                if threading.get_ident() != self._gathering:
                    self._changed.notify()
        except BaseException:
            entry.abandon()
            raise
        if last is not None:
            last.settle(Refusal(Reason.OVERLOADED))
        return entry

    def gather(self) -> None:
        """Let what this thread submits from now on wait for its `run_waiting`."""
        self._gathering = threading.get_ident()

    @property
    def is_waiting(self) -> bool:
        """Whether any entry waits for a batch."""
        return bool(self._queue)

    @property
    def waiting(self) -> int:
        """Number of entries that wait for a batch."""
        with self._lock:
            return len(self._queue)

    def run_waiting(self, seconds: float) -> None:
        """Let the worker begin with what waits, if anything, and wait until a batch has ended, at most *seconds*."""
        with self._changed:
            if self._queue:
                self._changed.notify()
                before = self._batches
                self._batch_ended.wait_for(lambda: self._batches > before, seconds)

    def run_exclusive(self, work: Callable[[], Any], seconds: float | None = None) -> Any:
        """Return the result of *work*, which runs in the worker thread between two batches.

        Raises:
            TimeoutError: it took more than *seconds*. If it had not begun, it never will.
        """
        future: Future[Any] = Future()
        with self._changed:
            self._tasks.append((work, future))
            self._changed.notify()
        try:
            return future.result(seconds)
        finally:
            future.cancel()

    def close(self, seconds: float | None = None) -> bool:
        """Finish all queued entries, then stop; return whether that took at most *seconds*."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                if not self._run_next():
                    return
            except BaseException as error:  # noqa: BLE001 - the worker survives any fault; entries stay queued
                with contextlib.suppress(Exception):
                    log.error("batcher.failed", error=type(error).__name__)
                time.sleep(RETRY_PAUSE_SECONDS)

    def _run_next(self) -> bool:
        """Wait for work and do some; return False once there is none left and the batcher is closing."""
        with self._changed:
            while not self._queue and not self._tasks and not self._closing:
                self._changed.wait()
        if self._tasks:
            self._run_task(*self._tasks.popleft())
        elif self._queue:
            try:
                self._run_batch()
            finally:
                with self._batch_ended:
                    self._batches += 1
                    self._batch_ended.notify()
        else:
            return False
        return True

    def _run_task(self, work: Callable[[], Any], future: "Future[Any]") -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                future.set_exception(error)

    def _run_batch(self) -> None:
        batch: list[Entry[T, R]] = []
        try:
            with self._lock:
                self._take(batch)
            if batch:
                self._observe(len(batch))
                results = self._work([entry.item for entry in batch])
                for entry, result in zip(batch, results, strict=True):
                    entry.settle(result)
        except BaseException as error:
            # Every caller in the batch gets an error, whatever it is.
            failure = error if isinstance(error, Exception) else RuntimeError("the batch was interrupted")
            for entry in batch:
                with contextlib.suppress(Exception):
                    entry.settle(failure)
            raise

    def _take(self, batch: list[Entry[T, R]]) -> None:
        size = self._limits.size
        most = min(size, self._limits.short) if len(self._queue) > 2 * size else size
        while self._queue and len(batch) < most:
            self._queue.move(batch, most)
