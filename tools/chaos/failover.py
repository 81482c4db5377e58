"""The primary killed with -9 and its synchronous standby promoted, again and again, under load.

A round: 1 clients ask, 2 the primary is killed, 3 its standby is promoted, 4 calls must resume by themselves, 5 every
answer that a client was given is looked for in what is the primary now, 6 the fallen server follows it, anew. The
service runs on through all rounds, told of both servers and of nothing else.
"""

import statistics
import time
from contextlib import ExitStack
from random import Random

from estelam.client.channel import ClientIdentity
from estelam.ledger import verify
from estelam.receipts import receipt
from tools.chaos.deployments import Deployment
from tools.chaos.kill import Ledger
from tools.chaos.load_clients import LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env import postgres
from tools.env import sandbox as suite
from tools.env.fork_server import ForkServer
from tools.env.postgres import PostgresCluster
from tools.env.processes import ServiceProcess

LOAD_SECONDS = (0.1, 0.6)
PAUSE_SECONDS = 0.02
IN_STEP_SECONDS = 30.0


def run(task: Task) -> Result:
    """Let the primary fall as often as told."""
    random, total, silences = Random(task.seed), Result(), list[float]()
    with ExitStack() as at_last:
        first = at_last.enter_context(postgres.cluster())
        database = first.database()
        home = suite.create_sandbox(task.folder, stores={"promissory": first.url(database)}, rate=1e6, burst=10**6)
        suite.load_samples(home)
        second = first.standby()
        at_last.callback(second.remove)
        ledger = Ledger(Deployment(home, first.url(database, second)))
        fork_server = at_last.enter_context(ForkServer())
        service = at_last.enter_context(
            ServiceProcess("promissory", home, environ=ledger.home.environ, launcher=fork_server.launch)
        )
        setad = ClientIdentity.named(home.pki, "setad")
        crowd = at_last.enter_context(LoadClients(service.address, setad, random, pause=PAUSE_SECONDS))
        primary, standby = first, second
        try:
            for _ in range(task.rounds):
                silences.append(_fall(primary, standby, crowd, random))  # 1, 2, 3, 4
                total.add(ledger.look(crowd.take()))  # 5
                primary, standby = standby, standby.standby(primary)  # 6
                total.rounds += 1
                task.progress(1)
        except TimeoutError:
            total.losses.append("calls did not resume")
        except (verify.LedgerCorruptError, receipt.InvalidReceipt) as error:
            total.losses.append(str(error))
    middle, worst = statistics.median(silences), max(silences)
    total.remarks.append(f"silent for {middle:.1f} s, at worst {worst:.1f}; {len(crowd.failed)} calls came to nothing")
    return total


def _fall(primary: PostgresCluster, standby: PostgresCluster, crowd: LoadClients, random: Random) -> float:
    """Let *primary* fall; returns after how many seconds there was an answer again."""
    _await_step(primary)
    crowd.wait_for_reply()
    time.sleep(random.uniform(*LOAD_SECONDS))
    primary.kill()
    fell = time.monotonic()
    standby.promote()
    crowd.wait_for_reply()
    return time.monotonic() - fell


def _await_step(primary: PostgresCluster) -> None:
    """Wait until commits on *primary* wait for its standby."""
    deadline = time.monotonic() + IN_STEP_SECONDS
    with primary.connect() as connection:
        while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() != [("sync",)]:
            if time.monotonic() > deadline:
                raise TimeoutError("the standby does not follow")
            time.sleep(0.02)


TRIAL = Scenario("failover", "the primary killed, its standby promoted", 1, 50, run)
