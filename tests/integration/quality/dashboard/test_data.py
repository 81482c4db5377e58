"""What the board sees is read once for all who ask together, and nothing old is shown for what can't be read."""

import asyncio
import threading

import pytest

from quality.dashboard.data import AsyncCache, DataUnavailable


class Readings:
    """Counts readings; each waits until it is let go, and fails if told to."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> int:
        self.count += 1
        self.go.wait(10)
        if self.fails:
            raise OSError
        return self.count


async def after(first: int, fresh: AsyncCache[int]) -> int:
    """What *fresh* gives once that is no longer *first*."""
    for _ in range(1000):
        if (found := await fresh()) != first:
            return found
        await asyncio.sleep(0.01)
    return first


def test_all_who_ask_at_the_same_time_share_one_reading() -> None:
    readings = Readings()

    async def ask() -> list[int]:
        fresh = AsyncCache(readings, 60)
        return list(await asyncio.gather(*(fresh() for _ in range(20))))

    assert [1] * 20 == asyncio.run(ask())
    assert 1 == readings.count


def test_what_lingers_is_shown_while_it_is_read_anew() -> None:
    readings = Readings()

    async def ask() -> tuple[int, int, int]:
        fresh = AsyncCache(readings, 0.0, stale_seconds=60)
        first = await fresh()
        readings.go.clear()
        meanwhile = await fresh()
        readings.go.set()
        return first, meanwhile, await after(first, fresh)

    first, meanwhile, then = asyncio.run(ask())

    assert (1, 1) == (first, meanwhile)
    assert then > 1


@pytest.mark.parametrize("lingers", [0.0, 60.0])
def test_nothing_old_is_shown_for_what_cannot_be_read_and_it_is_tried_again(lingers: float) -> None:
    readings = Readings()

    async def ask() -> int:
        fresh = AsyncCache(readings, 0.0, stale_seconds=lingers)
        await fresh()
        readings.fails = True
        with pytest.raises(DataUnavailable):
            await after(1, fresh)
        readings.fails = False
        return await fresh()

    assert asyncio.run(ask()) == readings.count
