"""Many inquiries, one transaction: what is gathered, what is turned away, and what outlives a caller's patience."""

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


def test_each_gets_its_own_result() -> None:
    async def scenario() -> None:
        batch: Batcher[int, int] = Batcher(doubled, BatchLimits())

        assert await asyncio.gather(*(batch.submit(number, 5) for number in range(4))) == [0, 2, 4, 6]
        await batch.close()

    run(scenario)


def test_under_load_many_go_together_and_never_more_than_the_size() -> None:
    async def scenario() -> None:
        sizes: list[int] = []
        batch: Batcher[int, int] = Batcher(doubled, BatchLimits(size=16, short=8), observe=sizes.append)

        async def caller(number: int) -> None:
            for _ in range(20):
                await batch.submit(number, 5)

        await asyncio.gather(*(caller(number) for number in range(64)))
        await batch.close()

        assert max(sizes) == 16
        assert sum(sizes) / len(sizes) > 8

    run(scenario)


def test_a_lone_caller_never_waits_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estelam.pipeline.batcher, "IDLE_AFTER_SECONDS", 3600)

    async def scenario() -> None:
        batch: Batcher[int, int] = Batcher(doubled, BatchLimits())

        for number in range(20):
            await batch.submit(number, 5)
        await batch.close()

    run(scenario)


def test_beyond_the_queues_bound_an_item_is_refused_at_once() -> None:
    async def scenario() -> None:
        gate = threading.Event()

        def held(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            return items

        batch: Batcher[int, int] = Batcher(held, BatchLimits(size=1, queue=2))
        waiting = [asyncio.create_task(batch.submit(number, 10)) for number in range(3)]
        await asyncio.sleep(0.05)
        waiting.append(asyncio.create_task(batch.submit(3, 10)))
        await asyncio.sleep(0.05)
        with pytest.raises(Refusal) as caught:
            await batch.submit(4, 10)
        gate.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        await batch.close()

        assert caught.value.reason == Reason.OVERLOADED
        assert any(result == 0 for result in done)

    run(scenario)


def test_a_flood_in_one_line_holds_up_no_other_and_is_turned_away_from_its_own_end() -> None:
    async def scenario() -> None:
        gate = threading.Event()
        order: list[int] = []

        def held(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            order.extend(items)
            return items

        batch: Batcher[int, int] = Batcher(held, BatchLimits(size=4, queue=20, short=2))
        flood = [asyncio.create_task(batch.submit(number, 10, "flood")) for number in range(22)]
        await asyncio.sleep(0.05)
        quiet = [asyncio.create_task(batch.submit(100 + number, 10, "quiet")) for number in range(4)]
        await asyncio.sleep(0.05)
        late = asyncio.create_task(batch.submit(22, 10, "flood"))
        await asyncio.sleep(0.05)
        gate.set()
        done = await asyncio.gather(*flood, *quiet, late, return_exceptions=True)
        await batch.close()

        turned_away = [place for place, result in enumerate(done) if isinstance(result, Refusal)]
        assert [18, 19, 20, 21, 26] == turned_away
        assert [100, 101, 102, 103] == [number for number in order[2:10] if number >= 100]

    run(scenario)


def test_who_waits_too_long_is_told_so_and_the_work_is_finished_all_the_same() -> None:
    async def scenario() -> None:
        finished: list[int] = []

        def slow(items: Sequence[int]) -> Sequence[int]:
            time.sleep(0.2)
            finished.extend(items)
            return items

        batch: Batcher[int, int] = Batcher(slow, BatchLimits())
        with pytest.raises(Refusal) as caught:
            await batch.submit(7, 0.05)
        await batch.close()

        assert caught.value.reason == Reason.ANSWER_LATE
        assert finished == [7]

    run(scenario)


def test_who_gave_up_before_their_turn_costs_no_work() -> None:
    async def scenario() -> None:
        seen: list[int] = []
        gate = threading.Event()

        def held(items: Sequence[int]) -> Sequence[int]:
            gate.wait(10)
            seen.extend(items)
            return items

        batch: Batcher[int, int] = Batcher(held, BatchLimits(size=1))
        first = asyncio.create_task(batch.submit(1, 10))
        await asyncio.sleep(0.05)
        impatient = asyncio.create_task(batch.submit(2, 10))
        await asyncio.sleep(0.05)
        impatient.cancel()
        await asyncio.sleep(0)
        gate.set()
        await first
        await batch.close()

        assert seen == [1]

    run(scenario)


def test_a_fault_in_the_work_reaches_every_waiter_and_the_next_round_is_served() -> None:
    async def scenario() -> None:
        faults = [ValueError("once")]

        def faulty(items: Sequence[int]) -> Sequence[int]:
            if faults:
                raise faults.pop()
            return items

        batch: Batcher[int, int] = Batcher(faulty, BatchLimits())
        with pytest.raises(ValueError, match="once"):
            await batch.submit(1, 5)

        assert await batch.submit(2, 5) == 2
        await batch.close()

    run(scenario)


def test_closing_finishes_what_is_waiting() -> None:
    async def scenario() -> None:
        batch: Batcher[int, int] = Batcher(doubled, BatchLimits(size=2))
        waiting = [asyncio.create_task(batch.submit(number, 5)) for number in range(9)]
        await asyncio.sleep(0)
        await batch.close()

        assert await asyncio.gather(*waiting) == [0, 2, 4, 6, 8, 10, 12, 14, 16]

    run(scenario)


def test_in_a_crowd_all_who_stand_at_the_door_are_let_in_before_anyone_has_a_turn() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        turns: list[list[str]] = []
        late: list[asyncio.Task[str]] = []

        def come(hops: int) -> None:
            # Each hop is a turn of the loop, in which a runner that waits for nobody would have gone on long since.
            if hops:
                loop.call_soon(come, hops - 1)
            else:
                late.append(loop.create_task(batch.submit("quiet", 5, "quiet")))

        def work(items: Sequence[str]) -> Sequence[str]:
            turns.append(list(items))
            if len(turns) == 2:
                loop.call_soon_threadsafe(come, 6)
            return items

        batch: Batcher[str, str] = Batcher(work, BatchLimits(size=8, short=4))
        await asyncio.gather(*(batch.submit("loud", 5, "loud") for _ in range(40)))
        await late[0]
        await batch.close()

        assert "quiet" in turns[2]

    run(scenario)


def test_in_a_crowd_turns_are_shorter_so_that_whoever_comes_meanwhile_waits_less() -> None:
    async def scenario() -> None:
        sizes: list[int] = []
        batch: Batcher[int, int] = Batcher(doubled, BatchLimits(size=16, short=8), observe=sizes.append)
        await asyncio.gather(*(batch.submit(number, 5) for number in range(64)))
        await batch.close()

        assert [8, 8, 8, 8, 16, 16] == sizes

    run(scenario)
