"""Rolling restarts of two workers under load: no caller may see a call fail.

A round: 1 clients ask, 2 the service is told to renew its workers, which it does one by one, 3 that is awaited. At the
end every answer that was given is looked for.
"""

import signal
import time
from contextlib import ExitStack
from random import Random

from estelam.client.channel import ClientIdentity
from tools.chaos import deployments
from tools.chaos.kill import Ledger
from tools.chaos.load_clients import LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.processes import ServiceProcess

WORKERS = 2
PAUSE_SECONDS = 0.02
ROUND_SECONDS = 60.0
RENEWED = b'"workers.renewed"'


def run(task: Task) -> Result:
    """Renew the workers as often as told."""
    total = Result()
    with ExitStack() as at_last:
        home = at_last.enter_context(deployments.on_postgresql(task.folder))("home")
        service = ServiceProcess("promissory", home.sandbox, workers=WORKERS, environ=home.environ)
        at_last.enter_context(service)
        setad = ClientIdentity.named(home.sandbox.pki, "setad")
        with LoadClients(service.address, setad, Random(task.seed), pause=PAUSE_SECONDS) as crowd:
            for _ in range(task.rounds):
                crowd.wait_for_reply()  # 1
                _renew(service)  # 2, 3
                total.rounds += 1
                task.progress(1)
            crowd.wait_for_reply()
        total.add(Ledger(home).look(crowd.take()))
    total.losses += [f"a call failed: {status}" for status in crowd.failed]
    return total


def _renew(service: ServiceProcess) -> None:
    before = service.log.read_bytes().count(RENEWED)
    service.signal(signal.SIGHUP)
    deadline = time.monotonic() + ROUND_SECONDS
    while service.log.read_bytes().count(RENEWED) == before:
        if time.monotonic() > deadline:
            raise TimeoutError("the workers were not renewed")
        time.sleep(0.05)


TRIAL = Scenario("rolling", "rolling restarts of two workers under load", 1, 100, run)
