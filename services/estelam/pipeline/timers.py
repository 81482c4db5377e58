"""Timers: functions that one thread calls later, unless they are cancelled before."""

import contextlib
import heapq
import math
import threading
import time
from collections.abc import Callable
from itertools import count

import structlog

log = structlog.get_logger()

# Cancelled timers are removed when they are so many, and more than the others: nearly every timer is cancelled.
MAX_CANCELLED = 64


class Timer:
    """A function to be called at a monotonic instant; `cancel` drops it."""

    __slots__ = ("at", "function", "number", "timers")

    def __init__(self, timers: "Timers", at: float, number: int, function: Callable[[], None]) -> None:
        self.timers = timers
        self.at = at
        self.number = number
        self.function: Callable[[], None] | None = function

    def __lt__(self, other: "Timer") -> bool:
        """Order by time, then by age."""
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        """Do not call the function, unless it has been called already."""
        self.timers.cancel(self)


class Timers:
    """Calls functions after a time, in a thread of its own, so that no slow store and no busy loop delays them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._heap: list[Timer] = []
        self._cancelled = 0
        self._numbers = count()
        self._wakes_at = math.inf
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Call *function* in *seconds*; at once, if they are negative."""
        timer = Timer(self, time.monotonic() + seconds, next(self._numbers), function)
        with self._lock:
            heapq.heappush(self._heap, timer)
            if timer.at < self._wakes_at:
                self._changed.notify()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Drop *timer*."""
        with self._lock:
            if timer.function is None:
                return
            timer.function = None
            self._cancelled += 1
            if self._cancelled > max(MAX_CANCELLED, len(self._heap) // 2):
                self._heap = [left for left in self._heap if left.function]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def close(self) -> None:
        """Drop all timers, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                function = self._next()
                if function is None:
                    return
                function()
            except BaseException as error:  # noqa: BLE001 - a fault of one function must not end the others
                with contextlib.suppress(Exception):
                    log.error("timer.failed", error=type(error).__name__)

    def _next(self) -> Callable[[], None] | None:
        """Wait until a timer is due, and return its function; None once the timers are closed."""
        with self._changed:
            while not self._closing:
                if self._heap and self._heap[0].function is None:
                    heapq.heappop(self._heap)
                    self._cancelled -= 1
                    continue
                now = time.monotonic()
                self._wakes_at = self._heap[0].at if self._heap else math.inf
                if self._wakes_at <= now:
                    function, self._heap[0].function = self._heap[0].function, None
                    heapq.heappop(self._heap)
                    return function
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
            return None
