"""Scenario: one caller sends ten times the service's capacity while another calls at a low rate.

A round is a second. 1 The capacity and the second caller's latency without overload are measured; 2 then one caller
keeps ten times as many calls in flight as reach that capacity and repeats refused calls at once, while the second
calls as before. Goodput, the latency of accepted calls, memory growth and the second caller's latency have bounds.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import promissory.service
from development import sandbox as suite
from estelam.client.channel import ClientIdentity
from tools.bench.datasets import notes
from tools.bench.load.plan import Concurrency, Plan, Protocol, Report, Requests
from tools.bench.load.run import run as load
from tools.bench.processes import RunningServer, resident_mib, run_server
from tools.chaos.scenario import Result, Scenario, Task

SERVER_CORE, LOAD_CORE = 0, 1
# On one connection, 1.6 seconds without a reply would end the run of the quiet caller.
CAPACITY, FLOOD, QUIET = Concurrency(8, 16), Concurrency(40, 31), Concurrency(4, 1)
QUIET_RATE = 20.0
GOODPUT, MAX_LATENCY_RATIO, MIB = 0.9, 3.0, 64.0
DEADLINE_MS = 10_000.0
NOTES = 2_400
# Refused as overloaded (8), or the stream was refused, after which gRPC retries by itself.
ENDINGS = {"YES", "NO", "status 8", "status reset"}


def run(task: Task) -> Result:
    """Overload the service for *task.rounds* seconds."""
    sandbox = suite.create_sandbox(task.folder, rate=1e7, burst=10**8)
    suite.load_samples(sandbox)
    settings = sandbox.promissory(listen="127.0.0.1:0", log_level="error")
    with run_server(promissory.service.main, settings.model_copy, core=SERVER_CORE) as server:
        many = _plan(server, ClientIdentity.named(sandbox.pki, "setad"), CAPACITY, task.rounds)
        quiet = replace(many, identity=ClientIdentity.named(sandbox.pki, "agency"), concurrency=QUIET, rate=QUIET_RATE)
        calm, capacity = load(quiet), load(many)  # 1
        before = resident_mib(server.pid)
        with ThreadPoolExecutor(2) as pool:  # 2
            flood, disturbed = pool.map(load, (replace(many, concurrency=FLOOD), quiet))
        grown = resident_mib(server.pid) - before
    task.progress(task.rounds)
    return _evaluate(task.rounds, capacity, flood, calm, disturbed, grown)


def _plan(server: RunningServer, caller: ClientIdentity, clients: Concurrency, seconds: float) -> Plan:
    requests = [note.as_message() for note in notes.sample_requests(NOTES)]
    return Plan(
        host="127.0.0.1",
        port=server.port,
        identity=caller,
        requests=Requests(Protocol.GRPC, suite.CHECK_NOTE, requests),
        concurrency=clients,
        seconds=seconds,
        warm_up_seconds=1.0,
        server=server.pid,
        core=LOAD_CORE,
    )


def _evaluate(rounds: int, capacity: Report, flood: Report, calm: Report, disturbed: Report, grown: float) -> Result:
    goodput, peace = flood.throughput / capacity.throughput, disturbed.p99 / calm.p99
    odd = (set(flood.endings) | set(disturbed.endings)) - ENDINGS
    bounds = {
        f"calls ended with {', '.join(sorted(odd))}": not odd,
        f"{disturbed.failed} calls of the second caller failed": not disturbed.failed,
        f"memory grew by {grown:.0f} MiB": grown <= MIB,
        f"accepted calls took {flood.p99:,.0f} ms": flood.p99 <= DEADLINE_MS,
    }
    timely = {
        f"goodput fell to {goodput:.0%}": goodput >= GOODPUT,
        f"the second caller's p99 rose {peace:.1f} times": peace <= MAX_LATENCY_RATIO,
    }
    return Result(
        rounds=rounds,
        checked=sum(flood.endings.values()) + sum(disturbed.endings.values()),
        losses=[words for words, kept in bounds.items() if not kept],
        missed=[words for words, kept in timely.items() if not kept],
        remarks=[
            f"goodput {goodput:.0%} of {capacity.throughput:,.0f} a second",
            f"accepted p99 {flood.p99:,.0f} ms",
            f"second caller's p50 {calm.p50:.0f} to {disturbed.p50:.0f} ms, p99 {calm.p99:.0f} to {disturbed.p99:.0f}",
            f"memory +{grown:.0f} MiB",
        ],
    )


SCENARIO = Scenario("overload", "one caller sends ten times the capacity, another calls at a low rate", 2, 60, run)
