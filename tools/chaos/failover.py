"""Scenario: the PostgreSQL primary is killed with SIGKILL and its synchronous standby promoted, under load.

A round: 1 clients call, 2 the primary is killed, 3 its standby is promoted, 4 calls must resume without intervention,
5 every acknowledged answer is looked up in the new primary, 6 the failed server becomes its standby. The service runs
through all rounds with both servers in its settings.
"""

import statistics
import time
from contextlib import ExitStack
from random import Random

from development import sandbox as suite
from development.processes import ServiceProcess
from estelam.client.channel import ClientIdentity
from estelam.ledger.errors import LedgerCorruptError
from estelam.receipts.problems import InvalidReceipt
from tools.chaos.deployments import Deployment
from tools.chaos.kill import Ledger
from tools.chaos.load_clients import LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env import postgres
from tools.env.fork_server import ForkServer
from tools.env.postgres import PostgresCluster

LOAD_SECONDS = (0.1, 0.6)
PAUSE_SECONDS = 0.02
IN_STEP_SECONDS = 30.0


def run(task: Task) -> Result:
    """Run *task.rounds* failovers."""
    random, total, silences = Random(task.seed), Result(), list[float]()
    with ExitStack() as at_last:
        first = at_last.enter_context(postgres.cluster())
        database = first.database()
        deployment = suite.create_sandbox(
            task.folder, stores={"promissory": first.url(database)}, rate=1e6, burst=10**6
        )
        suite.load_samples(deployment)
        second = first.standby()
        at_last.callback(second.remove)
        ledger = Ledger(Deployment(deployment, first.url(database, second)))
        fork_server = at_last.enter_context(ForkServer())
        service = at_last.enter_context(
            ServiceProcess("promissory", deployment, environ=ledger.deployment.environ, launcher=fork_server.launch)
        )
        setad = ClientIdentity.named(deployment.pki, "setad")
        clients = at_last.enter_context(LoadClients(service.address, setad, random, pause=PAUSE_SECONDS))
        primary, standby = first, second
        try:
            for _ in range(task.rounds):
                silences.append(_fail_over(primary, standby, clients, random))  # 1, 2, 3, 4
                total.add(ledger.look(clients.take()))  # 5
                primary, standby = standby, standby.standby(primary)  # 6
                total.rounds += 1
                task.progress(1)
        except TimeoutError:
            total.losses.append("calls did not resume")
        except (LedgerCorruptError, InvalidReceipt) as error:
            total.losses.append(str(error))
    middle, worst = statistics.median(silences), max(silences)
    total.remarks.append(
        f"silent for {middle:.1f} s, at worst {worst:.1f}; {len(clients.failed)} calls came to nothing"
    )
    return total


def _fail_over(primary: PostgresCluster, standby: PostgresCluster, clients: LoadClients, random: Random) -> float:
    """Fail over from *primary*; returns the seconds until the next answer."""
    _await_step(primary)
    clients.wait_for_reply()
    time.sleep(random.uniform(*LOAD_SECONDS))
    primary.kill()
    fell = time.monotonic()
    standby.promote()
    clients.wait_for_reply()
    return time.monotonic() - fell


def _await_step(primary: PostgresCluster) -> None:
    """Wait until *primary* replicates synchronously to its standby."""
    deadline = time.monotonic() + IN_STEP_SECONDS
    with primary.connect() as connection:
        while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() != [("sync",)]:
            if time.monotonic() > deadline:
                raise TimeoutError("the standby does not follow")
            time.sleep(0.02)


SCENARIO = Scenario("failover", "the primary killed, its standby promoted", 1, 50, run)
