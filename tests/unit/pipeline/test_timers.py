"""Timers: what is called, in which order, and what is not."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from estelam.pipeline.timers import MAX_CANCELLED, Timers

WAIT_SECONDS = 20.0


@pytest.fixture
def timers() -> Iterator[Timers]:
    timers = Timers()
    yield timers
    timers.close()


def test_order_and_time(timers: Timers) -> None:
    """Functions are called in the order of their times, none before its time, whatever they were set in."""
    began, called, over = time.monotonic(), [], threading.Event()

    def call(number: int, seconds: float) -> None:
        called.append((number, time.monotonic() - began >= seconds))
        if len(called) == 4:
            over.set()

    for number, seconds in ((3, 0.1), (2, 0.05), (1, 0.0), (0, -1.0)):
        timers.after(seconds, partial(call, number, seconds))

    assert over.wait(WAIT_SECONDS)
    assert {(number, True) for number in range(4)} == set(called)
    assert [2, 3] == [number for number, _ in called[2:]]


def test_cancelled_function_is_not_called(timers: Timers) -> None:
    """A cancelled function is not called, and cancelling it again, or after its call, does nothing."""
    called, over = [], threading.Event()
    cancelled = timers.after(0.02, lambda: called.append("cancelled"))
    cancelled.cancel()
    cancelled.cancel()
    kept = timers.after(0.04, over.set)

    assert over.wait(WAIT_SECONDS)
    kept.cancel()
    assert called == []


def test_fault_ends_no_other(timers: Timers) -> None:
    """A function that fails, whatever with, keeps no other from being called."""
    over = threading.Event()

    def failing() -> None:
        raise SystemExit

    timers.after(0.0, failing)
    timers.after(0.01, over.set)

    assert over.wait(WAIT_SECONDS)


def test_cancelled_timers_use_no_memory(timers: Timers) -> None:
    """Cancelled timers are dropped long before their time: nearly every call cancels one."""
    kept = [timers.after(3600, lambda: None) for _ in range(10)]
    for _ in range(10_000):
        timers.after(3600, lambda: None).cancel()

    assert len(timers._heap) <= 2 * max(MAX_CANCELLED, len(kept)) + 1
