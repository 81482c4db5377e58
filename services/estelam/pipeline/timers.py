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
    """A function to be called later; `cancel` drops it."""

    __slots__ = ("function", "timers")

    def __init__(self, timers: "Timers", function: Callable[[], None]) -> None:
        self.timers = timers
        self.function: Callable[[], None] | None = function

    def cancel(self) -> None:
        """Do not call the function, unless it has been called already."""
        self.timers.cancel(self)


class Timers:
    """Calls functions after a time, in a thread of its own, so that no slow store and no busy loop delays them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # By monotonic time, then by age.
        self._heap: list[tuple[float, int, Timer]] = []
        self._cancelled = 0
        self._numbers = count()
        self._wakes_at = math.inf
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, function: Callable[[], None]) -> Timer:
        """Call *function* in *seconds*; at once, if they are negative."""
        timer, at = Timer(self, function), time.monotonic() + seconds
        with self._lock:
            heapq.heappush(self._heap, (at, next(self._numbers), timer))
            if at < self._wakes_at:
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
                self._heap = [left for left in self._heap if left[2].function]
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
                self._wakes_at, _, first = self._heap[0] if self._heap else (math.inf, 0, None)
                if first is not None and first.function is None:
                    heapq.heappop(self._heap)
                    self._cancelled -= 1
                    continue
                now = time.monotonic()
                if first is not None and self._wakes_at <= now:
                    function, first.function = first.function, None
                    heapq.heappop(self._heap)
                    return function
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
            return None
