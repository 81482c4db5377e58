"""kill -9 of the promissory service under load: no answer that a caller was given may be missing from the ledger.

A round: 1 clients ask, 2 the service is killed at an instant nobody chose, 3 it is started again, 4 every answer that a
client was given, in this round or before, is looked for in the ledger, and the whole chain is verified.
"""

import hashlib
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
from typing import NamedTuple

from estelam.client.channel import ClientIdentity
from estelam.core.keys import verifying_keys
from estelam.ledger import verify
from estelam.receipts import receipt
from estelam.storage.store import Store
from tools.chaos import deployments
from tools.chaos.deployments import Deployment, DeploymentFactory
from tools.chaos.load_clients import Acknowledged, LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.fork_server import ForkServer
from tools.env.processes import ProcessError, ServiceProcess
from tools.env.sandbox import CHECK_NOTE

LOAD_SECONDS = (0.02, 0.3)
# Two services at a time, each with a store of its own: one alone would leave a core idle while it starts.
VICTIMS = 2
# So often is one store's service killed before another takes its place: looking costs more the longer its ledger is.
KILLS = 25


class SealedBlock(NamedTuple):
    """The block that a receipt names: its number and its hash."""

    block: int
    hash: bytes


@dataclass(slots=True)
class Ledger:
    """A ledger, and what callers may hold it to."""

    home: Deployment
    owed: Counter[SealedBlock] = field(default_factory=Counter)
    """Where each acknowledged answer must stand, for ever."""

    def look(self, given: Sequence[Acknowledged]) -> Result:
        """Look for every answer that is owed, *given* now or before.

        It is lost where the chain has another block, or none, in its place. A receipt proves that its entry, sequence
        and every byte, lies in a block of a certain hash; `chain.verify` proves that the entries in the store are those
        that each block sealed. So the entry is there if that very block is.
        """
        settings = self.home.settings
        keys = verifying_keys(settings.signing_certificates)
        result = Result(checked=len(given))
        for answer in given:
            proven = receipt.verify(CHECK_NOTE, answer.request, answer.reply, keys)
            sealed = SealedBlock(proven.block.number, hashlib.sha256(answer.reply.receipt.block_header).digest())
            self.owed[sealed] += 1
            if not answer.right:
                result.losses.append(f"a wrong answer, block {sealed.block}")
        with closing(Store(settings.store)) as store, store.transaction() as connection:
            whole = {SealedBlock(head.number, head.hash) for head in verify.verify_ledger(connection, keys)}
        for sealed in [sealed for sealed in self.owed if sealed not in whole]:
            result.losses += [f"an answer is missing, block {sealed.block}"] * self.owed.pop(sealed)
        return result


def run_rounds(begin: Callable[[], ServiceProcess], ledger: Ledger, rounds: int, random: Random) -> Iterator[Result]:
    """Kill the service that *begin* makes, under load, *rounds* times; one result for each."""
    setad = ClientIdentity.named(ledger.home.sandbox.pki, "setad")
    service = begin().start()
    try:
        for _ in range(rounds):
            with LoadClients(service.address, setad, random) as crowd:  # 1
                crowd.wait_for_reply()
                time.sleep(random.uniform(*LOAD_SECONDS))
                service.kill()  # 2
            service = begin().start()  # 3
            result = ledger.look(crowd.take())  # 4
            result.rounds = 1
            yield result
    finally:
        service.kill()


def run(
    task: Task, engine: Callable[[Path], AbstractContextManager[DeploymentFactory]] = deployments.on_sqlite
) -> Result:
    """Torture several victims at a time, as many rounds as told in all."""
    kills = min(KILLS, -(-task.rounds // VICTIMS))
    lives = [range(first, min(first + kills, task.rounds)) for first in range(0, task.rounds, kills)]
    over = threading.Event()
    total = Result()

    def live(share: range) -> Result:
        return _live(build(f"victim-{share.start}"), fork_server, share, task, over)

    with engine(task.folder) as build, ForkServer() as fork_server, ThreadPoolExecutor(VICTIMS) as pool:
        try:
            for result in pool.map(live, lives):
                total.add(result)
        finally:
            over.set()
    total.remarks.append(f"{total.checked / max(1, total.rounds):.0f} answers a round")
    return total


def _live(home: Deployment, fork_server: ForkServer, share: range, task: Task, over: threading.Event) -> Result:
    total = Result()

    def begin() -> ServiceProcess:
        return ServiceProcess("promissory", home.sandbox, environ=home.environ, launcher=fork_server.launch)

    try:
        for result in run_rounds(begin, Ledger(home), len(share), Random(f"{task.seed} {share.start}")):
            total.add(result)
            task.progress(1)
            if over.is_set():
                break
    except (verify.LedgerCorruptError, receipt.InvalidReceipt, ProcessError, TimeoutError) as error:
        total.losses.append(str(error))
    finally:
        shutil.rmtree(home.sandbox.folder)
    return total


TRIAL = Scenario("kill", "kill -9 of the service under load, on SQLite", 20, 1000, run)
POSTGRESQL = Scenario(
    "kill-postgresql",
    "kill -9 of the service under load, on PostgreSQL",
    6,
    1000,
    partial(run, engine=deployments.on_postgresql),
)
