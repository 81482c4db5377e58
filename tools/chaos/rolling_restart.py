"""Scenario: rolling restarts of two workers under load; no call may fail.

A round: 1 clients call, 2 SIGHUP makes the service restart its workers one by one, 3 wait for the end of that. At the
end every acknowledged answer is looked up in the ledger.
"""

import signal
import time
from contextlib import ExitStack
from random import Random

from development.processes import ServiceProcess
from estelam.client.channel import ClientIdentity
from tools.chaos import deployments
from tools.chaos.kill import Ledger
from tools.chaos.load_clients import LoadClients
from tools.chaos.scenario import Result, Scenario, Task

WORKERS = 2
PAUSE_SECONDS = 0.02
ROUND_SECONDS = 60.0
RENEWED = b'"workers.restarted"'


def run(task: Task) -> Result:
    """Restart the workers *task.rounds* times."""
    total = Result()
    with ExitStack() as at_last:
        deployment = at_last.enter_context(deployments.on_postgresql(task.folder))("deployment")
        service = ServiceProcess("promissory", deployment.sandbox, workers=WORKERS, environ=deployment.environ)
        at_last.enter_context(service)
        setad = ClientIdentity.named(deployment.sandbox.pki, "setad")
        with LoadClients(service.address, setad, Random(task.seed), pause=PAUSE_SECONDS) as clients:
            for _ in range(task.rounds):
                clients.wait_for_reply()  # 1
                _renew(service)  # 2, 3
                total.rounds += 1
                task.progress(1)
            clients.wait_for_reply()
        total.add(Ledger(deployment).look(clients.take()))
    total.losses += [f"a call failed: {status}" for status in clients.failed]
    return total


def _renew(service: ServiceProcess) -> None:
    before = service.log.read_bytes().count(RENEWED)
    service.signal(signal.SIGHUP)
    deadline = time.monotonic() + ROUND_SECONDS
    while service.log.read_bytes().count(RENEWED) == before:
        if time.monotonic() > deadline:
            raise TimeoutError("the workers were not renewed")
        time.sleep(0.05)


SCENARIO = Scenario("rolling", "rolling restarts of two workers under load", 1, 100, run)
