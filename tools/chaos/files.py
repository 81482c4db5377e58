"""Scenario: accidents to the files of a SQLite store under load; no acknowledged answer may be lost unseen.

A round: 1 clients call a service with a store of its own; 2 at a random instant something happens to one of its files;
3 the service is stopped or killed, soon after it refuses or some time later; 4 it is started again. Every answer must
have been right. If the service starts, its ledger must have every answer that was acknowledged, or verification must
find that it has not.
"""

import os
import resource
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from sqlalchemy.exc import DBAPIError

from development.process_limits import ProcessError
from development.processes import ServiceProcess
from estelam.client.channel import ClientIdentity
from estelam.ledger.errors import LedgerCorruptError
from estelam.storage.store import StoreError
from tools.chaos import deployments
from tools.chaos.deployments import Deployment
from tools.chaos.kill import CONCURRENT_SERVICES, Ledger
from tools.chaos.load_clients import SERIAL, Acknowledged, LoadClients
from tools.chaos.scenario import Result, Scenario, Task
from tools.env.fork_server import ForkServer

FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "facts.db", "facts.db-wal", "facts.db-shm")
LOAD_SECONDS = (0.02, 0.5)
NOTICE_SECONDS = 2.0
"""How long a round waits for the first refusal; with a load under way the next batch gets it."""
AFTER_SECONDS = (0.0, 0.3)
PIECE = 4096


class Accidents:
    """What can happen to the files in *folder*; *older* holds an earlier state of them, without the note."""

    def __init__(self, folder: Path, older: Path, random: Random) -> None:
        self._folder = folder
        self._older = older
        self._random = random
        self.kinds: Mapping[str, Callable[[Path], None]] = {
            "removed": self._remove,
            "replaced": self._replace,
            "cut off": self._cut_off,
            "piece written over": self._write_piece,
            "older state written over": self._write_older,
            "moved away": self._move_folder,
        }

    def _remove(self, path: Path) -> None:
        path.unlink()

    def _replace(self, path: Path) -> None:
        draft = path.with_name("draft")
        shutil.copyfile(self._source(path), draft)
        draft.rename(path)

    def _cut_off(self, path: Path) -> None:
        os.truncate(path, self._random.randrange(path.stat().st_size + 1))

    def _write_piece(self, path: Path) -> None:
        start = self._random.randrange(max(1, path.stat().st_size - PIECE))
        with path.open("r+b") as file:
            file.seek(start)
            file.write(self._random.randbytes(PIECE))

    def _write_older(self, path: Path) -> None:
        content = self._source(path).read_bytes()
        with path.open("r+b") as file:
            file.write(content)

    def _move_folder(self, _path: Path) -> None:
        """What a file system that is mounted over the folder looks like."""
        self._folder.rename(self._folder.with_name("away"))
        shutil.copytree(self._older, self._folder)

    def _source(self, path: Path) -> Path:
        older = self._older / path.name
        return older if older.exists() else path


def run(task: Task) -> Result:
    """Run *task.rounds* rounds, several at a time."""
    total, outcomes = Result(), Counter[str]()
    with deployments.on_sqlite(task.folder) as build, ForkServer() as fork_server:
        older = _older_state(build("older"))

        def one(number: int) -> tuple[Result, str]:
            return _round(build(f"round-{number}"), older, fork_server, Random(f"{task.seed} {number}"))

        with ThreadPoolExecutor(CONCURRENT_SERVICES) as pool:
            for result, outcome in pool.map(one, range(task.rounds)):
                total.add(result)
                outcomes[outcome] += 1
                task.progress(1)
    total.remarks += [f"{count} {outcome}" for outcome, count in sorted(outcomes.items())]
    return total


def _older_state(deployment: Deployment) -> Path:
    """Return the folder of a store without the note about which clients ask, so that a NO from it is wrong."""
    folder = _folder(deployment)
    with closing(sqlite3.connect(folder / "facts.db")) as facts, facts:
        facts.execute("DELETE FROM note WHERE serial = ?", (SERIAL,))
    return folder


def _folder(deployment: Deployment) -> Path:
    return Path(deployment.store.removeprefix("sqlite:///"))


def _round(deployment: Deployment, older: Path, fork_server: ForkServer, random: Random) -> tuple[Result, str]:
    """Return what one round has shown, and in words how it ended."""
    accidents = Accidents(_folder(deployment), older, random)
    kind, name = random.choice([*accidents.kinds, "full"]), random.choice(FILES)
    setad = ClientIdentity.named(deployment.sandbox.pki, "setad")

    def begin() -> ServiceProcess:
        return ServiceProcess("promissory", deployment.sandbox, environ=deployment.environ, launcher=fork_server.launch)

    service = begin().start()
    try:
        with LoadClients(service.address, setad, random) as clients:  # 1
            clients.wait_for_reply()
            time.sleep(random.uniform(*LOAD_SECONDS))
            if kind == "full":  # 2
                resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            else:
                accidents.kinds[kind](_folder(deployment) / name)
            _wait_for_refusal(clients)
            time.sleep(random.uniform(*AFTER_SECONDS))
            with suppress(ProcessError):  # 3
                random.choice((service.stop, service.kill))()
        return _check(deployment, begin, clients.take(), f"{kind} {name}")  # 4
    finally:
        service.kill()
        shutil.rmtree(deployment.sandbox.folder)


def _wait_for_refusal(clients: LoadClients) -> None:
    deadline = time.monotonic() + NOTICE_SECONDS
    while not clients.failed and time.monotonic() < deadline:
        time.sleep(0.002)


def _check(
    deployment: Deployment, begin: Callable[[], ServiceProcess], given: Sequence[Acknowledged], what: str
) -> tuple[Result, str]:
    wrong = [f"{what}: a wrong answer" for answer in given if not answer.right]
    result = Result(rounds=1, checked=len(given), losses=wrong)
    service = begin()
    try:
        service.start()
    except ProcessError:
        return result, "starts refused"
    finally:
        service.kill()
    try:
        found = Ledger(deployment).look([answer for answer in given if answer.right])
    except (LedgerCorruptError, StoreError, DBAPIError):
        return result, "damages that only verification finds"
    result.losses += [f"{what}: {loss}" for loss in found.losses]
    return result, "complete ledgers"


SCENARIO = Scenario("files", "a file of the store removed, replaced, cut off or written over under load", 12, 1000, run)
