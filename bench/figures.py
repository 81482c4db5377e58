"""Paired runs against both servers, and the figures that are worth keeping of them."""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bench import load
from bench.load import Plan, Report
from bench.processes import SPAWN, Running
from bench.sandbox import HOST, Sandbox
from estelam.client import aio_channel
from promissory.servicer import CHECK_NOTE

LOAD_CORE = 1


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many ask at once: connections, and calls under way on each."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"


@dataclass(frozen=True, slots=True)
class Pair:
    """A run of the bare handler and one of the full service, one right after the other."""

    bare: Report
    full: Report
    batch: float
    """The full service's mean batch."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Two servers in one sandbox."""

    sandbox: Sandbox
    bare: Running
    full: Running
    seconds: float

    def pair(self, crowd: Crowd, turn: int) -> Pair:
        """Run both; who goes first changes with each *turn*, so that a drift of the machine favours neither."""
        if turn % 2:
            full, batch = self._run_full(crowd)
            return Pair(self._run(self.bare, crowd), full, batch)
        bare = self._run(self.bare, crowd)
        return Pair(bare, *self._run_full(crowd))

    def _run_full(self, crowd: Crowd) -> tuple[Report, float]:
        count, total = _batches(self.sandbox.metrics_port)
        report = self._run(self.full, crowd)
        later_count, later_total = _batches(self.sandbox.metrics_port)
        return report, (later_total - total) / (later_count - count)

    def _run(self, server: Running, crowd: Crowd) -> Report:
        plan = Plan(
            host=HOST,
            port=server.port,
            method=CHECK_NOTE.name,
            certificate=self.sandbox.caller.certificate,
            private_key=self.sandbox.caller.private_key,
            trust=self.sandbox.caller.trust,
            requests=self.sandbox.requests,
            connections=crowd.connections,
            streams=crowd.streams,
            seconds=self.seconds,
            warm_up_seconds=min(1.0, self.seconds),
            server=server.pid,
            core=LOAD_CORE,
        )
        # A process of its own each time: it keeps to its core, and leaves no garbage to the next.
        with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
            return pool.submit(load.run, plan).result()


def median(pairs: Sequence[Pair], figure: Callable[[Pair], float]) -> float:
    """The median of *figure* over *pairs*."""
    return statistics.median(map(figure, pairs))


def _batches(metrics_port: int) -> tuple[float, float]:
    """How many batches the full service has made so far, and how many inquiries stood in them."""
    connection = HTTPConnection(HOST, metrics_port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    return values["estelam_batch_inquiries_count"], values["estelam_batch_inquiries_sum"]


def captured_reply(sandbox: Sandbox, server: Running) -> bytes:
    """A reply of typical size from the full service: the median of what a crowd gets."""
    replies = asyncio.run(_ask_together(sandbox, server, 64))
    return sorted(replies, key=len)[len(replies) // 2]


async def _ask_together(sandbox: Sandbox, server: Running, crowd: int) -> list[bytes]:
    async with aio_channel(f"{HOST}:{server.port}", sandbox.caller) as channel:
        check: Any = channel.unary_unary(f"/{CHECK_NOTE.name}")
        for _ in range(4):  # The first to come are answered alone; a crowd must have gathered.
            replies = await asyncio.gather(*(check(request, timeout=10) for request in sandbox.requests[:crowd]))
    return list(replies)
