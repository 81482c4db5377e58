"""The metrics listener: many requests can't keep others from it."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from estelam.telemetry import process_metrics
from estelam.telemetry.process_metrics import ProcessMetrics

READY = {"type": "http", "path": "/ready", "method": "GET", "headers": []}


def test_closed_requests_keep_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests whose callers have gone are not waited for: the next request has its turn before theirs would come."""
    monkeypatch.setattr(process_metrics, "REQUEST_GAP_SECONDS", 0.2)
    sent: list[Message] = []

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def waits() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        metrics: Any = ProcessMetrics()
        metrics.set_serving(healthy=True)
        flood = [asyncio.ensure_future(metrics._app(READY, gone, send)) for _ in range(1000)]
        await asyncio.gather(*flood)
        sent.clear()
        async with asyncio.timeout(60):  # the turns of all of them would take 200 seconds
            await metrics._app(READY, waits, send)

    asyncio.run(run())
    assert [200] == [message["status"] for message in sent if "status" in message]


def test_requests_are_spaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one request has its turn, the next ones wait, also if the caller of an earlier one gives up."""
    monkeypatch.setattr(process_metrics, "REQUEST_GAP_SECONDS", 3600.0)
    answered: list[Message] = []

    async def waits() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        answered.append(message)

    async def run() -> None:
        metrics: Any = ProcessMetrics()
        tasks = [asyncio.ensure_future(metrics._app(READY, waits, send)) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert [True, False, False] == [task.done() for task in tasks]
        tasks[1].cancel()
        await asyncio.sleep(0.1)
        assert tasks[2].done() is False
        tasks[2].cancel()

    asyncio.run(run())
    assert [503] == [message["status"] for message in answered if "status" in message]
