"""Scenario: thousands of SIGHUP within seconds, under load; they restart the service, and end nothing.

A round is a signal. 1 clients call, 2 the signals are sent, as fast as the system takes them, 3 the service answers
again, in the same process, and stops in order, 4 every answer that was acknowledged is looked up in the ledger. With
one worker calls may fail while it restarts; with several none may.
"""

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from development.processes import ServiceProcess, free_ports
from estelam.client.channel import ClientIdentity
from tools.chaos import deployments
from tools.chaos.deployments import DeploymentFactory
from tools.chaos.kill import Ledger
from tools.chaos.load_clients import LoadClients
from tools.chaos.scenario import Result, Scenario, Task

PAUSE_SECONDS: Final = 0.02
BURST: Final = 1000
"""So many signals are sent before the next look whether the service still runs."""
RESTART_SECONDS: Final = 60.0
RESTARTED: Final = (b'"service.restarted"', b'"workers.restarted"')


def run(task: Task, engine: Callable[[Path], AbstractContextManager[DeploymentFactory]], workers: int) -> Result:
    """Send *task.rounds* signals to a service of *workers* processes."""
    total = Result(rounds=task.rounds)
    with engine(task.folder) as build:
        deployment = build("deployment")
        listen = f"127.0.0.1:{free_ports('promissory')['promissory']}"  # it stays the same when the service restarts
        service = ServiceProcess(
            "promissory", deployment.sandbox, listen=listen, workers=workers, environ=deployment.environ
        ).start()
        setad = ClientIdentity.named(deployment.sandbox.pki, "setad")
        with LoadClients(service.address, setad, Random(task.seed), pause=PAUSE_SECONDS) as clients:
            clients.wait_for_reply()  # 1
            began = time.monotonic()
            for first in range(0, task.rounds, BURST):  # 2
                for _ in range(first, min(first + BURST, task.rounds)):
                    service.signal(signal.SIGHUP)
                task.progress(min(BURST, task.rounds - first))
            took = time.monotonic() - began
            _await_restart(service)  # 3
            clients.wait_for_reply()
        status = service.stop()
        total.add(Ledger(deployment).look(clients.take()))  # 4
    restarts = _restarts(service)
    if status:
        total.losses.append(f"the service ended with status {status}")
    if not restarts:
        total.losses.append("the service did not restart")
    if workers > 1:
        total.losses += [f"a call failed: {failed}" for failed in clients.failed]
    total.remarks.append(f"{took:.1f} s, {restarts} restarts, {len(clients.failed)} calls failed meanwhile")
    return total


def _await_restart(service: ServiceProcess) -> None:
    until = time.monotonic() + RESTART_SECONDS
    while not _restarts(service) and service.exit_status is None and time.monotonic() < until:
        time.sleep(0.1)


def _restarts(service: ServiceProcess) -> int:
    log = service.log.read_bytes()
    return sum(log.count(event) for event in RESTARTED)


SCENARIO = Scenario(
    "signals",
    "thousands of SIGHUP to a service of one worker",
    50_000,
    500_000,
    partial(run, engine=deployments.on_sqlite, workers=1),
)
WORKERS = Scenario(
    "signals-workers",
    "thousands of SIGHUP to a service of two workers",
    50_000,
    500_000,
    partial(run, engine=deployments.on_postgresql, workers=2),
)
