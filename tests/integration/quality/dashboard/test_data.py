"""Cache of the dashboard's data."""

import asyncio
import threading
import time

import pytest

from quality.dashboard.data import AsyncCache, DataUnavailable


class CountingReader:
    """Counts its calls. Each waits for *released*, and fails if *fails* is set."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False
        self.released = threading.Event()
        self.released.set()

    def __call__(self) -> int:
        self.count += 1
        self.released.wait(10)
        if self.fails:
            raise OSError
        return self.count


async def after(first: int, cache: AsyncCache[int]) -> int:
    """The value of *cache* once it differs from *first*."""
    for _ in range(1000):
        if (found := await cache()) != first:
            return found
        await asyncio.sleep(0.01)
    return first


def test_concurrent_callers() -> None:
    """Concurrent callers share one read."""
    reader = CountingReader()

    async def ask() -> list[int]:
        cache = AsyncCache(reader, 60)
        return list(await asyncio.gather(*(cache() for _ in range(20))))

    assert [1] * 20 == asyncio.run(ask())
    assert 1 == reader.count


def test_stale_value_during_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale value is returned while it is refreshed."""
    reader = CountingReader()

    async def ask() -> tuple[int, int, int]:
        cache = AsyncCache(reader, 60)
        first = await cache()
        monkeypatch.setattr(time, "monotonic", lambda began=time.monotonic: began() + 70)
        reader.released.clear()
        meanwhile = await cache()
        reader.released.set()
        return first, meanwhile, await after(first, cache)

    first, meanwhile, then = asyncio.run(ask())

    assert (1, 1) == (first, meanwhile)
    assert then > 1


def test_pause_after_a_long_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that took long to read is kept ten times as long: reading takes a tenth of a core at most."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def read() -> float:
        clock[0] += 30
        return clock[0]

    async def ask() -> list[float]:
        cache = AsyncCache(read, 10)
        found = [await cache()]
        for later in (290, 500):
            clock[0] = float(later)
            found.append(await cache())
        return found

    assert [30, 30, 530] == asyncio.run(ask())


def test_failed_refresh() -> None:
    """After a failed refresh no old value is returned, and the next call reads again."""
    reader = CountingReader()

    async def ask() -> int:
        cache = AsyncCache(reader, 0.0)
        await cache()
        reader.fails = True
        with pytest.raises(DataUnavailable):
            await after(1, cache)
        reader.fails = False
        return await cache()

    assert asyncio.run(ask()) == reader.count
