"""Many inquiries, one transaction: a bounded queue before one thread.

Waiting for company costs a lone caller time and saves a crowd most of its cost, so only a crowd is waited for, until
all who come together are in.
Each caller waits in a line of their own, and each line moves on alike: a flood in one holds up no other.
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

# A door through which so few have come in so long is taken for empty, and is stood open no longer than that.
IDLE_AFTER_SECONDS = 0.001
IDLE_BELOW_ENTRIES = 4
MAX_GATHER_SECONDS = 0.1
# After a fault, the next round is tried no sooner.
RETRY_PAUSE_SECONDS = 0.01

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How many wait, and how many go together."""

    size: int = 128
    queue: int = 1024
    short: int = 32
    """How many go together where more wait than two batches: whoever comes meanwhile waits for the end of one."""


class FairQueue(Generic[T, R]):
    """Who waits, in lines that all move on alike."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._lines: dict[str, deque[tuple[T, asyncio.Future[R]]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def append(self, line: str, waiting: tuple[T, asyncio.Future[R]]) -> None:
        """Stand at the end of *line*; where no more may wait, the last of the longest line is turned away for it.

        Raises:
            Refusal: OVERLOADED, where that is this one.
        """
        if len(self) >= self._bound:
            longest = max(self._lines.values(), key=len)
            if len(self._lines.get(line, ())) + 1 >= len(longest):
                raise Refusal(Reason.OVERLOADED)
            _, future = longest.pop()
            if not future.done():
                future.set_exception(Refusal(Reason.OVERLOADED))
        self._lines.setdefault(line, deque()).append(waiting)

    def move(self, batch: list[tuple[T, asyncio.Future[R]]], most: int) -> None:
        """Move to *batch*, until it has *most*, an equal share of each line, and who was first behind the others."""
        share = max(1, (most - len(batch)) // len(self._lines))
        for name in list(self._lines)[:most]:
            line = self._lines[name]
            for _ in range(min(share, len(line))):
                batch.append(line.popleft())
                # Who has given up is let go before any work is done for them.
                if batch[-1][1].done():
                    batch.pop()
            if line:
                self._lines[name] = self._lines.pop(name)
            else:
                del self._lines[name]


class Batcher(Generic[T, R]):
    """Hands what is submitted to *work*, in one thread, as many at a time as are waiting."""

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
        self._waiting: FairQueue[T, R] = FairQueue(limits.queue)
        self._arrival = asyncio.Event()
        self._closing = False
        self._last = 0
        self._entered = 0
        self._runner = asyncio.get_running_loop().create_task(self._run())

    async def submit(self, item: T, seconds: float, line: str = "") -> R:
        """What *work* makes of *item*, which waits in its own *line*, for at most *seconds*.

        Raises:
            Refusal: OVERLOADED where the queue is full, for whoever came last in the longest line; ANSWER_LATE where
                time ran out. An item that has begun is finished all the same: giving up ends the waiting, never the
                commit.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        timer = loop.call_later(seconds, _expire, future)
        try:
            self._waiting.append(line, (item, future))
            self._entered += 1
            self._arrival.set()
            return await future
        finally:
            timer.cancel()

    async def run_exclusive(self, work: Callable[[], Any]) -> Any:
        """Run *work* in the batch's thread, between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def close(self) -> None:
        """Finish what is waiting, then stop."""
        self._closing = True
        self._arrival.set()
        await self._runner
        self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            try:
                if self._closing and not self._waiting:
                    return
                await self._round()
            except BaseException as error:
                # The runner must outlive any fault; what waits has its next round.
                if is_cancelled(error):
                    raise
                with contextlib.suppress(Exception):
                    log.error("round.failed", error=type(error).__name__)
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _round(self) -> None:
        await self._arrival.wait()
        if self._last > 2 and not self._closing:
            await self._let_in()
        batch: list[tuple[T, asyncio.Future[R]]] = []
        try:
            self._take(batch)
            self._last = len(batch)
            if batch:
                await self._serve(batch)
        except BaseException as error:
            # Whatever it is, every waiter must hear of it.
            for _, future in batch:
                if not future.done():
                    future.set_exception(_as_exception(error))
            raise

    async def _let_in(self) -> None:
        """Let in all who stand at the door: there they wait in the order of their coming, and only in here alike.

        It costs a crowd nothing: the thread would have to share its core with the loop that lets them in.
        """
        loop = asyncio.get_running_loop()
        began = now = loop.time()
        lull = False
        while not lull and now < began + MAX_GATHER_SECONDS:
            before, entered = now, self._entered
            await asyncio.sleep(IDLE_AFTER_SECONDS)
            now = loop.time()
            # A loop too busy to come back in time was too busy to look at the door.
            lull = self._entered - entered <= IDLE_BELOW_ENTRIES and now < before + 2 * IDLE_AFTER_SECONDS

    def _take(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        size = self._limits.size
        most = min(size, self._limits.short) if len(self._waiting) > 2 * size else size
        while self._waiting and len(batch) < most:
            self._waiting.move(batch, most)
        if not self._waiting and not self._closing:
            self._arrival.clear()

    async def _serve(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        self._observe(len(batch))
        items = [item for item, _ in batch]
        results = await asyncio.get_running_loop().run_in_executor(self._thread, _whole, self._work, items)
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def is_cancelled(error: BaseException) -> bool:
    """Whether *error* ends this task because someone asked for that; any other cancellation is a fault like any."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _whole(work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> Sequence[R]:
    try:
        return work(items)
    except StopIteration as error:
        # No future takes this one: whoever waits for the thread would wait for ever.
        raise RuntimeError("the work was broken off") from error


def _as_exception(error: BaseException) -> Exception:
    """*error*, or what stands for it where a future or its waiter would take it for something else."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError("the round was broken off")


def _expire(future: asyncio.Future[R]) -> None:
    if not future.done():
        future.set_exception(Refusal(Reason.ANSWER_LATE))
