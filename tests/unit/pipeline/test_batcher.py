"""The batcher: what forms a batch, what is refused, and what is finished after its caller's timeout."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from estelam.core.errors import Reason, Refusal
from estelam.pipeline.batcher import Batcher, BatchLimits
from estelam.pipeline.timers import Timers

WAIT_SECONDS = 20.0

Work = Callable[[Sequence[int]], Sequence[int]]


class Batching:
    """A batcher of numbers, whose work can be held up, and the batches it has begun."""

    def __init__(self, timers: Timers, limits: BatchLimits, work: Work) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.held = threading.Semaphore(0)
        self._work = work
        self.batcher: Batcher[int, int] = Batcher(self._answer, limits, timers)

    def _answer(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.held.release()
        assert self.gate.wait(WAIT_SECONDS)
        return self._work(items)

    def submit(self, item: int, seconds: float = WAIT_SECONDS, queue_key: str = "") -> "Future[int]":
        """A future of the result; cancelling it abandons the item."""
        future: Future[int] = Future()

        def done(result: int | Exception) -> None:
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        entry = self.batcher.submit(item, seconds, done, queue_key)
        self.batcher.run_waiting(0)
        future.add_done_callback(lambda ended: entry.abandon() if ended.cancelled() else None)
        return future

    def hold(self, item: int = 0) -> "Future[int]":
        """Submit *item* and hold up the batch that it makes alone."""
        self.gate.clear()
        first = self.submit(item, queue_key="held")
        while self.batches[-1:] != [[item]]:
            assert self.held.acquire(timeout=WAIT_SECONDS)
        return first


Begin = Callable[..., Batching]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts batchers, with limits of their own; all are closed at the end."""
    timers = Timers()
    begun: list[Batching] = []

    def begin(work: Work = doubled, **limits: int) -> Batching:
        begun.append(Batching(timers, BatchLimits(**limits), work))
        return begun[-1]

    yield begin
    for batching in begun:
        batching.gate.set()
        batching.batcher.close(WAIT_SECONDS)
    timers.close()


def doubled(items: Sequence[int]) -> list[int]:
    return [item * 2 for item in items]


def outcome(future: "Future[int]") -> Any:
    """The result, or the reason of the refusal."""
    error = future.exception(WAIT_SECONDS)
    return error.reason if isinstance(error, Refusal) else error or future.result()


def test_results_match_items(begin: Begin) -> None:
    """Each caller gets the result of its own item."""
    batching = begin()

    assert [outcome(future) for future in map(batching.submit, range(4))] == [0, 2, 4, 6]


def test_arrivals_during_a_batch_are_the_next(begin: Begin) -> None:
    """What arrives during one batch is the next batch, and no batch is larger than the configured size."""
    batching = begin(size=8)
    batching.hold()
    waiting = [batching.submit(number) for number in range(1, 13)]
    batching.gate.set()

    assert [outcome(future) for future in waiting] == [2 * number for number in range(1, 13)]
    assert [len(batch) for batch in batching.batches] == [1, 8, 4]


def test_submitter_waits_for_a_batch(begin: Begin) -> None:
    """A batch begins when the submitter says so, which waits until it has ended, but no longer than its time."""
    batching = begin()
    batching.batcher.gather()
    results: list[int | Exception] = []
    for number in range(3):
        batching.batcher.submit(number, WAIT_SECONDS, results.append)
    before = list(batching.batches)
    batching.batcher.run_waiting(WAIT_SECONDS)
    after = list(results)
    batching.hold(7)
    batching.batcher.submit(8, WAIT_SECONDS, results.append)
    batching.batcher.run_waiting(0.01)

    assert (before, after) == ([], [0, 2, 4])
    assert batching.batches == [[0, 1, 2], [7]]


def test_another_thread_waits_for_nobody(begin: Begin) -> None:
    """What another thread than the one that gathers submits is answered although that one never begins a batch."""
    batching = begin()
    gathering = threading.Thread(target=batching.batcher.gather)
    gathering.start()
    gathering.join()
    answered: Future[int | Exception] = Future()
    batching.batcher.submit(4, WAIT_SECONDS, answered.set_result)

    assert answered.result(WAIT_SECONDS / 2) == 8


def test_nothing_to_wait_for(begin: Begin) -> None:
    """Where no item waits, no batch is begun, and the submitter does not wait."""
    batching = begin()
    batching.batcher.run_waiting(WAIT_SECONDS)

    assert batching.batches == []


def test_full_queue_refuses(begin: Begin) -> None:
    """An item beyond the queue's bound is refused at once with OVERLOADED."""
    batching = begin(size=1, queue=2)
    first = batching.hold()
    batching.submit(1)
    batching.submit(2)

    with pytest.raises(Refusal) as caught:
        batching.submit(3)
    batching.gate.set()
    assert caught.value.reason == Reason.OVERLOADED
    assert outcome(first) == 0


def test_flood_delays_no_other_caller(begin: Begin) -> None:
    """A flood from one caller delays no other, and only its own last items are refused."""
    batching = begin(size=4, queue=20, short=2)
    batching.hold()
    flood = [batching.submit(number, queue_key="flood") for number in range(1, 21)]
    quiet = [batching.submit(100 + number, queue_key="quiet") for number in range(4)]
    with pytest.raises(Refusal):
        batching.submit(21, queue_key="flood")
    batching.gate.set()
    done = [outcome(future) for future in (*flood, *quiet)]

    assert [place for place, result in enumerate(done) if result == Reason.OVERLOADED] == [16, 17, 18, 19]
    order = [number for batch in batching.batches[1:] for number in batch]
    assert [number for number in order[:8] if number >= 100] == [100, 101, 102, 103]


def test_timeout_does_not_cancel_work(begin: Begin) -> None:
    """A caller that times out during its batch gets ANSWER_LATE at once, and its item is finished nevertheless."""
    finished: list[int] = []

    def work(items: Sequence[int]) -> Sequence[int]:
        finished.extend(items)
        return items

    batching = begin(work)
    batching.gate.clear()
    late = outcome(batching.submit(7, 0.05))
    unfinished = list(finished)
    batching.gate.set()

    assert (late, unfinished) == (Reason.ANSWER_LATE, [])
    assert outcome(batching.submit(8)) == 8
    assert finished == [7, 8]


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_left(begin: Begin, seconds: float) -> None:
    """A caller without any time left gets ANSWER_LATE, even before its batch."""
    batching = begin()
    batching.hold()

    assert outcome(batching.submit(1, seconds)) == Reason.ANSWER_LATE


def test_cancelled_item_is_skipped(begin: Begin) -> None:
    """An item that was cancelled, or is late, before its batch is not worked on."""
    batching = begin()
    batching.hold()
    late = batching.submit(1, 0.01)
    batching.submit(2).cancel()
    last = batching.submit(3)
    outcomes = [outcome(late)]
    batching.gate.set()

    assert [*outcomes, outcome(last)] == [Reason.ANSWER_LATE, 6]
    assert batching.batches == [[0], [3]]


def test_fault_fails_one_batch_only(begin: Begin) -> None:
    """A fault in the work, whatever it is, reaches every caller of the batch, and the next batch is served."""
    faults: list[BaseException] = [StopIteration(), SystemExit(), ValueError("once")]

    def faulty(items: Sequence[int]) -> Sequence[int]:
        if faults:
            raise faults.pop()
        return items

    batching = begin(faulty)
    errors = [batching.submit(1).exception(WAIT_SECONDS) for _ in range(3)]

    assert [type(error) for error in errors] == [ValueError, RuntimeError, StopIteration]
    assert outcome(batching.submit(2)) == 2


def test_fault_in_passing_on_a_result_fails_no_other(begin: Begin) -> None:
    """A fault while one caller's result is passed on keeps no other caller of the batch waiting."""
    batching = begin()
    batching.hold()

    def broken(_result: int | Exception) -> None:
        raise ValueError

    batching.batcher.submit(1, WAIT_SECONDS, broken)
    behind = batching.submit(2)
    batching.gate.set()

    assert isinstance(behind.exception(WAIT_SECONDS), ValueError)
    assert outcome(batching.submit(3)) == 6


def test_close_finishes_queued_items(begin: Begin) -> None:
    """Closing finishes all queued items."""
    batching = begin(size=2)
    batching.hold()
    waiting = [batching.submit(number) for number in range(9)]
    closing = threading.Thread(target=batching.batcher.close)
    closing.start()
    batching.gate.set()
    closing.join(WAIT_SECONDS)

    assert [future.result(0) for future in waiting] == [0, 2, 4, 6, 8, 10, 12, 14, 16]


def test_batches_are_short_while_queue_is_long(begin: Begin) -> None:
    """While more than two full batches are queued, batches are short."""
    batching = begin(size=16, short=8)
    batching.hold()
    waiting = [batching.submit(number) for number in range(64)]
    batching.gate.set()
    for future in waiting:
        outcome(future)

    assert [len(batch) for batch in batching.batches] == [1, 8, 8, 8, 8, 16, 16]


def test_exclusive_work_runs_between_batches(begin: Begin) -> None:
    """Exclusive work runs while no batch does, and returns its result or raises its error."""
    batching = begin()
    threading.Thread(target=batching.gate.set).start()

    def failing() -> None:
        raise KeyError

    assert batching.batcher.run_exclusive(lambda: len(batching.batches), WAIT_SECONDS) == 0
    with pytest.raises(KeyError):
        batching.batcher.run_exclusive(failing, WAIT_SECONDS)
    assert outcome(batching.submit(1)) == 2


def test_exclusive_work_behind_a_hung_batch(begin: Begin) -> None:
    """Exclusive work that waits too long behind a batch raises TimeoutError, and is never begun."""
    done: list[int] = []
    batching = begin()
    batching.hold()
    with pytest.raises(TimeoutError):
        batching.batcher.run_exclusive(lambda: done.append(1), 0.02)
    batching.gate.set()

    assert outcome(batching.submit(1)) == 2
    assert done == []
