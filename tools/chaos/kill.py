"""Scenario: SIGKILL of the promissory service under load; no acknowledged answer may be missing from the ledger.

A round: 1 clients call, 2 the service is killed at a random instant, 3 it is restarted, 4 every answer that was
acknowledged so far is looked up in the ledger, and the whole ledger is verified.
"""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from development.process_limits import ProcessError
from development.processes import ServiceProcess
from development.sandbox import CHECK_NOTE
from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.ledger import verify
from estelam.ledger.errors import LedgerCorruptError
from estelam.receipts import receipt
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.problems import InvalidReceipt
from estelam.storage.store import Store
from tools.chaos import deployments
from tools.chaos.deployments import Deployment, DeploymentFactory
from tools.chaos.load_clients import Acknowledged, LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.fork_server import ForkServer

LOAD_SECONDS = (0.02, 0.3)
# Two services at a time, each with its own store: a single one would leave a core idle while it starts.
CONCURRENT_SERVICES = 2
# Kills per store: after these a new store is used, since verification costs more as the ledger grows.
KILLS = 25


@dataclass(slots=True)
class Ledger:
    """A ledger and the receipts that clients hold for it."""

    deployment: Deployment
    owed: Counter[Checkpoint] = field(default_factory=Counter)
    """The checkpoints of acknowledged answers, with counts."""

    def look(self, given: Sequence[Acknowledged]) -> Result:
        """Look up every acknowledged answer, including those newly *given*.

        A receipt proves that its entry is in the tree of a checkpoint; `verify_ledger` proves that the stored entries
        are those of each checkpoint. So the entry is present if the checkpoint is, and lost otherwise.
        """
        settings = self.deployment.settings
        keys = verifying_keys(settings.signing_certificates)
        result = Result(checked=len(given))
        for answer in given:
            proven = receipt.verify(CHECK_NOTE, answer.request, answer.reply, keys)
            self.owed[proven.checkpoint] += 1
            if not answer.right:
                result.losses.append(f"a wrong answer, entry {proven.index}")
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            whole = set(verify.verify_ledger(connection, keys))
        for lost in self.owed.keys() - whole:
            result.losses += [f"an answer is missing, checkpoint {lost}"] * self.owed.pop(lost)
        return result


def run_rounds(begin: Callable[[], ServiceProcess], ledger: Ledger, rounds: int, random: Random) -> Iterator[Result]:
    """Kill the service that *begin* creates *rounds* times under load; yields one result per round."""
    setad = ClientIdentity.named(ledger.deployment.sandbox.pki, "setad")
    service = begin().start()
    try:
        for _ in range(rounds):
            with LoadClients(service.address, setad, random) as clients:  # 1
                clients.wait_for_reply()
                time.sleep(random.uniform(*LOAD_SECONDS))
                service.kill()  # 2
            service = begin().start()  # 3
            result = ledger.look(clients.take())  # 4
            result.rounds = 1
            yield result
    finally:
        service.kill()


def run(
    task: Task, engine: Callable[[Path], AbstractContextManager[DeploymentFactory]] = deployments.on_sqlite
) -> Result:
    """Run *task.rounds* rounds in total on several services at a time."""
    kills = min(KILLS, -(-task.rounds // CONCURRENT_SERVICES))
    lives = [range(first, min(first + kills, task.rounds)) for first in range(0, task.rounds, kills)]
    over = threading.Event()
    total = Result()

    def live(share: range) -> Result:
        return _live(build(f"service-{share.start}"), fork_server, share, task, over)

    with engine(task.folder) as build, ForkServer() as fork_server, ThreadPoolExecutor(CONCURRENT_SERVICES) as pool:
        try:
            for result in pool.map(live, lives):
                total.add(result)
        finally:
            over.set()
    total.remarks.append(f"{total.checked / max(1, total.rounds):.0f} answers a round")
    return total


def _live(deployment: Deployment, fork_server: ForkServer, share: range, task: Task, over: threading.Event) -> Result:
    total = Result()

    def begin() -> ServiceProcess:
        return ServiceProcess("promissory", deployment.sandbox, environ=deployment.environ, launcher=fork_server.launch)

    try:
        for result in run_rounds(begin, Ledger(deployment), len(share), Random(f"{task.seed} {share.start}")):
            total.add(result)
            task.progress(1)
            if over.is_set():
                break
    except (LedgerCorruptError, InvalidReceipt, ProcessError, TimeoutError) as error:
        total.losses.append(str(error))
    finally:
        shutil.rmtree(deployment.sandbox.folder)
    return total


SCENARIO = Scenario("kill", "kill -9 of the service under load, on SQLite", 20, 1000, run)
POSTGRESQL = Scenario(
    "kill-postgresql",
    "kill -9 of the service under load, on PostgreSQL",
    6,
    1000,
    partial(run, engine=deployments.on_postgresql),
)
