"""The batcher: what forms a batcher, what is refused, and what is finished after its caller's timeout."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

import estelam.pipeline.batcher
from estelam.core.errors import Reason, Refusal
from estelam.pipeline.batcher import Batcher, BatchLimits

Scenario = Callable[[], Awaitable[None]]


def run(scenario: Scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def doubled(items: Sequence[int]) -> list[int]:
    return [item * 2 for item in items]


def test_results_match_items() -> None:
    """Each caller gets the result of its own item."""

    async def scenario() -> None:
        batcher: Batcher[int, int] = Batcher(doubled, BatchLimits())

        assert await asyncio.gather(*(batcher.submit(number, 5) for number in range(4))) == [0, 2, 4, 6]
        await batcher.close()

    run(scenario)


def test_batches_fill_under_load() -> None:
    """Under load batches are large, and never larger than the configured size."""

    async def scenario() -> None:
        sizes: list[int] = []
        batcher: Batcher[int, int] = Batcher(doubled, BatchLimits(size=16, short=8), observe=sizes.append)

        async def caller(number: int) -> None:
            for _ in range(20):
                await batcher.submit(number, 5)

        await asyncio.gather(*(caller(number) for number in range(64)))
        await batcher.close()

        assert max(sizes) == 16
        assert sum(sizes) / len(sizes) > 8

    run(scenario)


def test_single_caller_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single caller never waits for further arrivals."""
    monkeypatch.setattr(estelam.pipeline.batcher, "IDLE_AFTER_SECONDS", 3600)

    async def scenario() -> None:
        batcher: Batcher[int, int] = Batcher(doubled, BatchLimits())

        for number in range(20):
            await batcher.submit(number, 5)
        await batcher.close()

    run(scenario)


def test_full_queue_refuses() -> None:
    """An item beyond the queue's bound is refused at once with OVERLOADED."""

    async def scenario() -> None:
        gate = threading.Event()

        def blocked(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            return items

        batcher: Batcher[int, int] = Batcher(blocked, BatchLimits(size=1, queue=2))
        waiting = [asyncio.create_task(batcher.submit(number, 10)) for number in range(3)]
        await asyncio.sleep(0.05)
        waiting.append(asyncio.create_task(batcher.submit(3, 10)))
        await asyncio.sleep(0.05)
        with pytest.raises(Refusal) as caught:
            await batcher.submit(4, 10)
        gate.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        await batcher.close()

        assert caught.value.reason == Reason.OVERLOADED
        assert any(result == 0 for result in done)

    run(scenario)


def test_flood_delays_no_other_caller() -> None:
    """A flood from one caller delays no other, and only its own last items are refused."""

    async def scenario() -> None:
        gate = threading.Event()
        order: list[int] = []

        def blocked(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            order.extend(items)
            return items

        batcher: Batcher[int, int] = Batcher(blocked, BatchLimits(size=4, queue=20, short=2))
        flood = [asyncio.create_task(batcher.submit(number, 10, "flood")) for number in range(22)]
        await asyncio.sleep(0.05)
        quiet = [asyncio.create_task(batcher.submit(100 + number, 10, "quiet")) for number in range(4)]
        await asyncio.sleep(0.05)
        late = asyncio.create_task(batcher.submit(22, 10, "flood"))
        await asyncio.sleep(0.05)
        gate.set()
        done = await asyncio.gather(*flood, *quiet, late, return_exceptions=True)
        await batcher.close()

        refused = [place for place, result in enumerate(done) if isinstance(result, Refusal)]
        assert [18, 19, 20, 21, 26] == refused
        assert [100, 101, 102, 103] == [number for number in order[2:10] if number >= 100]

    run(scenario)


def test_timeout_does_not_cancel_work() -> None:
    """A caller that times out gets ANSWER_LATE, and its item is finished nevertheless."""

    async def scenario() -> None:
        finished: list[int] = []

        def slow(items: Sequence[int]) -> Sequence[int]:
            time.sleep(0.2)
            finished.extend(items)
            return items

        batcher: Batcher[int, int] = Batcher(slow, BatchLimits())
        with pytest.raises(Refusal) as caught:
            await batcher.submit(7, 0.05)
        await batcher.close()

        assert caught.value.reason == Reason.ANSWER_LATE
        assert finished == [7]

    run(scenario)


def test_cancelled_item_is_skipped() -> None:
    """An item that was cancelled before its batcher is not worked on."""

    async def scenario() -> None:
        seen: list[int] = []
        gate = threading.Event()

        def blocked(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            seen.extend(items)
            return items

        batcher: Batcher[int, int] = Batcher(blocked, BatchLimits(size=1))
        first = asyncio.create_task(batcher.submit(1, 10))
        await asyncio.sleep(0.05)
        cancelled = asyncio.create_task(batcher.submit(2, 10))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        await batcher.close()

        assert seen == [1]

    run(scenario)


def test_fault_fails_one_batch_only() -> None:
    """A fault in the work reaches every caller of the batcher, and the next batcher is served."""

    async def scenario() -> None:
        faults = [ValueError("once")]

        def faulty(items: Sequence[int]) -> Sequence[int]:
            if faults:
                raise faults.pop()
            return items

        batcher: Batcher[int, int] = Batcher(faulty, BatchLimits())
        with pytest.raises(ValueError, match="once"):
            await batcher.submit(1, 5)

        assert await batcher.submit(2, 5) == 2
        await batcher.close()

    run(scenario)


def test_close_finishes_queued_items() -> None:
    """Closing finishes all queued items."""

    async def scenario() -> None:
        batcher: Batcher[int, int] = Batcher(doubled, BatchLimits(size=2))
        waiting = [asyncio.create_task(batcher.submit(number, 5)) for number in range(9)]
        await asyncio.sleep(0)
        await batcher.close()

        assert await asyncio.gather(*waiting) == [0, 2, 4, 6, 8, 10, 12, 14, 16]

    run(scenario)


def test_gathers_arrivals_under_load() -> None:
    """Under load, calls that arrive during a batcher are gathered into the next batcher."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        batches: list[list[str]] = []
        late: list[asyncio.Task[str]] = []

        def arrive(hops: int) -> None:
            # Each hop is one iteration of the loop; a batcher that does not wait would have started the batch.
            if hops:
                loop.call_soon(arrive, hops - 1)
            else:
                late.append(loop.create_task(batcher.submit("quiet", 5, "quiet")))

        def work(items: Sequence[str]) -> Sequence[str]:
            batches.append(list(items))
            if len(batches) == 2:
                loop.call_soon_threadsafe(arrive, 6)
            return items

        batcher: Batcher[str, str] = Batcher(work, BatchLimits(size=8, short=4))
        await asyncio.gather(*(batcher.submit("loud", 5, "loud") for _ in range(40)))
        await late[0]
        await batcher.close()

        assert "quiet" in batches[2]

    run(scenario)


def test_batches_are_short_while_queue_is_long() -> None:
    """While more than two full batches are queued, batches are short."""

    async def scenario() -> None:
        sizes: list[int] = []
        batcher: Batcher[int, int] = Batcher(doubled, BatchLimits(size=16, short=8), observe=sizes.append)
        await asyncio.gather(*(batcher.submit(number, 5) for number in range(64)))
        await batcher.close()

        assert [8, 8, 8, 8, 16, 16] == sizes

    run(scenario)
