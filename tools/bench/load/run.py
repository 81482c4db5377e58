"""Runs a plan in a closed loop, or in an open loop at a fixed rate."""

import os
import select
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from random import Random

from tools.bench.load.connection import Connection
from tools.bench.load.http1 import JsonConnection
from tools.bench.load.http2 import GrpcConnection
from tools.bench.load.plan import Plan, Protocol, Report, Tally
from tools.bench.processes import cpu_seconds
from tools.env.python_process import SPAWN

_DRAIN_SECONDS = 5.0
_MOST_STREAMS = 32
_CONNECTIONS: Mapping[Protocol, type[Connection]] = {Protocol.GRPC: GrpcConnection, Protocol.JSON: JsonConnection}


def run(plan: Plan) -> Report:
    """Run *plan* in a process of its own on one core, so that runs do not affect each other."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(_run, plan).result()


def _run(plan: Plan) -> Report:
    os.sched_setaffinity(0, {plan.core})
    tls = plan.identity.ssl_context(alpn=["h2" if plan.requests.protocol is Protocol.GRPC else "http/1.1"])
    tally = Tally()
    connections = _connect(plan, tls, tally)
    try:
        if plan.rate is None:
            _fill(connections, plan.concurrency.streams)
        _drive(plan, connections, plan.warm_up_seconds)
        tally.clear()
        before = (cpu_seconds(plan.server), time.process_time())
        seconds = _drive(plan, connections, plan.seconds)
        after = (cpu_seconds(plan.server), time.process_time())
        report = Report.of(tally, seconds, server_cpu=after[0] - before[0], client_cpu=after[1] - before[1])
        _drain(connections)
    finally:
        for connection in connections:
            connection.close()
    return report


def _connect(plan: Plan, tls: ssl.SSLContext, tally: Tally) -> list[Connection]:
    kind, count = _CONNECTIONS[plan.requests.protocol], plan.concurrency.connections
    framed = [kind.framed(plan, request) for request in plan.requests.requests]
    # Each connection starts at another request: identical requests in one batch share a look-up.
    starts = [len(framed) * turn // count for turn in range(count)]
    return [kind(plan, tls, tally, cycle(framed[start:] + framed[:start])) for start in starts]


def _fill(connections: Sequence[Connection], streams: int) -> None:
    for connection in connections:
        for _ in range(streams):
            connection.send(time.perf_counter())
        connection.flush()


def _drive(plan: Plan, connections: Sequence[Connection], seconds: float) -> float:
    """Drive *connections* for *seconds*; returns the actual duration."""
    return _loop(connections, seconds) if plan.rate is None else _pace(connections, seconds, plan.rate)


def _loop(connections: Sequence[Connection], seconds: float) -> float:
    with select.epoll() as poll:
        readers = {connection.fileno(): connection.read for connection in connections}
        for number in readers:
            poll.register(number, select.EPOLLIN)
        started = time.perf_counter()
        while (left := started + seconds - time.perf_counter()) > 0:
            for number, _ in poll.poll(left):
                readers[number]()
        return time.perf_counter() - started


def _pace(connections: Sequence[Connection], seconds: float, rate: float) -> float:
    """Open loop: calls are due at random instants from a fixed seed; latency counts from the due instant."""
    gaps, turns = Random(1), cycle(connections)
    started = due = time.perf_counter()
    while (now := time.perf_counter()) < started + seconds:
        while due <= now:
            _start(turns, len(connections), due)
            due += gaps.expovariate(rate)
        # epoll would round this timeout up to a whole millisecond.
        ready, _, _ = select.select(connections, [], [], max(0.0, min(due, started + seconds) - time.perf_counter()))
        for connection in ready:
            connection.read()
    return time.perf_counter() - started


def _start(turns: "cycle[Connection]", connections: int, due: float) -> None:
    for _ in range(connections):
        connection = next(turns)
        if connection.in_flight < _MOST_STREAMS:
            connection.send(due)
            connection.flush()
            return
    raise RuntimeError("the server has fallen so far behind that no call can be started")


def _drain(connections: Sequence[Connection]) -> None:
    """Wait for the calls in flight, so that the next run starts on an idle server."""
    for connection in connections:
        connection.refill = False
    deadline = time.perf_counter() + _DRAIN_SECONDS
    while any(connection.in_flight for connection in connections) and time.perf_counter() < deadline:
        _loop(connections, 0.02)
