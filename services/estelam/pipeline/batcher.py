"""Batches inquiries: a bounded, fair queue in front of one worker thread; each batch is one transaction.

Batching adds latency when one caller is active and saves most of the commit cost when many are. So the batcher waits
for further entries only while many arrive, until the arrivals pause.
Each caller has a queue of its own, and all queues advance equally: a flood from one caller delays no other.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from estelam.core.errors import Reason, Refusal

log = structlog.get_logger()

# Arrivals are taken to have paused when so few come in so long; the batcher waits for a pause at most so long.
IDLE_AFTER_SECONDS = 0.001
IDLE_BELOW_ENTRIES = 4
MAX_GATHER_SECONDS = 0.1
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


class FairQueue(Generic[T, R]):
    """One queue for each key; all queues advance equally."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._queues: dict[str, deque[tuple[T, asyncio.Future[R]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def append(self, key: str, entry: tuple[T, asyncio.Future[R]]) -> None:
        """Add *entry* to the queue of *key*; if all is full, the last entry of the longest queue is refused.

        Raises:
            Refusal: OVERLOADED, if the entry to refuse would be this one.
        """
        if len(self) >= self._bound:
            longest = max(self._queues.values(), key=len)
            if len(self._queues.get(key, ())) + 1 >= len(longest):
                raise Refusal(Reason.OVERLOADED)
            _, future = longest.pop()
            if not future.done():
                future.set_exception(Refusal(Reason.OVERLOADED))
        self._queues.setdefault(key, deque()).append(entry)

    def move(self, batch: list[tuple[T, asyncio.Future[R]]], most: int) -> None:
        """Move an equal share of each queue to *batch*, up to *most* entries; a served queue goes to the back."""
        share = max(1, (most - len(batch)) // len(self._queues))
        for key in list(self._queues)[:most]:
            queue = self._queues[key]
            for _ in range(min(share, len(queue))):
                batch.append(queue.popleft())
                # An entry whose caller has stopped waiting is dropped before any work is done for it.
                if batch[-1][1].done():
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
        *,
        observe: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._work = work
        self._limits = limits
        self._observe = observe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._queue: FairQueue[T, R] = FairQueue(limits.queue)
        self._not_empty = asyncio.Event()
        self._closing = False
        self._last_size = 0
        self._arrivals = 0
        self._runner = asyncio.get_running_loop().create_task(self._run())

    async def submit(self, item: T, seconds: float, queue_key: str = "") -> R:
        """Return the result of *work* for *item*, which waits in the queue of *queue_key*, within *seconds*.

        Raises:
            Refusal: OVERLOADED if the queue is full and this caller's is the longest; ANSWER_LATE if the time has
                passed. An item already in a batch is finished nevertheless: a timeout ends the waiting, not the commit.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        timer = loop.call_later(seconds, _expire, future)
        try:
            self._queue.append(queue_key, (item, future))
            self._arrivals += 1
            self._not_empty.set()
            return await future
        finally:
            timer.cancel()

    async def run_exclusive(self, work: Callable[[], Any]) -> Any:
        """Run *work* in the worker thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Finish all queued entries, then stop."""
        self._closing = True
        self._not_empty.set()
        await self._runner
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            try:
                if self._closing and not self._queue:
                    return
                await self._run_batch()
            except BaseException as error:
                # The runner survives any fault; queued entries go into the next batch.
                if is_cancelled(error):
                    raise
                with contextlib.suppress(Exception):
                    log.error("batcher.failed", error=type(error).__name__)
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _run_batch(self) -> None:
        await self._not_empty.wait()
        if self._last_size > 2 and not self._closing:
            await self._gather()
        batch: list[tuple[T, asyncio.Future[R]]] = []
        try:
            self._take(batch)
            self._last_size = len(batch)
            if batch:
                await self._serve(batch)
        except BaseException as error:
            # Every caller in the batch gets an error, whatever it is.
            for _, future in batch:
                if not future.done():
                    future.set_exception(_as_exception(error))
            raise

    async def _gather(self) -> None:
        """Wait until arrivals pause: calls that gRPC still holds wait in order of arrival; ours are served fairly.

        Under load this costs nothing: the worker thread would share its core with the loop that accepts the calls.
        """
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        paused = False
        while not paused and now < began + MAX_GATHER_SECONDS:
            before, arrivals = now, self._arrivals
            await asyncio.sleep(IDLE_AFTER_SECONDS)
            now = loop.time()
            # A loop that resumes late has not had time to accept calls.
            paused = self._arrivals - arrivals <= IDLE_BELOW_ENTRIES and now < before + 2 * IDLE_AFTER_SECONDS

    def _take(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        size = self._limits.size
        most = min(size, self._limits.short) if len(self._queue) > 2 * size else size
        while self._queue and len(batch) < most:
            self._queue.move(batch, most)
        if not self._queue and not self._closing:
            self._not_empty.clear()

    async def _serve(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        self._observe(len(batch))
        items = [item for item, _ in batch]
        results = await asyncio.get_running_loop().run_in_executor(self._thread, _call, self._work, items)
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def is_cancelled(error: BaseException) -> bool:
    """Whether *error* is a requested cancellation of this task; any other CancelledError is an ordinary fault."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _call(work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> Sequence[R]:
    try:
        return work(items)
    except StopIteration as error:
        # A future can't hold StopIteration: the caller would wait for ever.
        raise RuntimeError("the work raised StopIteration") from error


def _as_exception(error: BaseException) -> Exception:
    """Return *error*, or a RuntimeError in place of one that a future or its waiter would interpret."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError("the batch was interrupted")


def _expire(future: asyncio.Future[R]) -> None:
    if not future.done():
        future.set_exception(Refusal(Reason.ANSWER_LATE))
