"""One of our services with all its instances, in a process of its own, by a clock that the conformance kit steers."""

import asyncio
import csv
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from sqlalchemy import create_engine, make_url, text

from conformance.case import Instance
from estelam.core.clock import Clock, monotonic_wall_clock
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.server.grpc_server import Server
from estelam.server.process import wait_for_shutdown
from estelam.server.service import run_recording_service
from estelam.telemetry import logs
from judiciary.methods import QUESTIONS
from judiciary.settings import JudiciarySettings
from promissory.methods import questions
from promissory.settings import PromissorySettings
from sataad_adapter.service import adapter
from sataad_adapter.settings import SetadSettings
from tools.env.processes import START_SECONDS, STOP_SECONDS, ProcessError

DOWN = (Instance.PROMISSORY_DOWN, Instance.JUDICIARY_DOWN)
_OFFSET_SECONDS, _DENIED_SECONDS = 0.1, 0.5
# A forked child would share gRPC's innards with its parent.
_SPAWN = multiprocessing.get_context("spawn")


class Crew:
    """The instances of one service, in one process, from entering to leaving."""

    def __init__(self, folder: Path, members: Mapping[Instance, ServingSettings]) -> None:
        self._members = members
        self._ports, theirs = _SPAWN.Pipe(duplex=False)
        self._log = folder / f"{next(iter(members)).service}.log"
        self._process = _SPAWN.Process(target=_main, args=(folder, members, theirs, self._log))
        self._theirs = theirs

    def addresses(self) -> dict[Instance, str]:
        """Where each instance is, once all listen.

        Raises:
            ProcessError: they ended instead, or take too long.
        """
        try:
            if self._ports.poll(START_SECONDS):
                return {member: f"127.0.0.1:{port}" for member, port in self._ports.recv().items()}
        except EOFError:
            raise ProcessError(f"{self._log.name}: {self._log.read_text('utf-8')[-2000:]}") from None
        raise ProcessError(f"{', '.join(self._members)} did not start within {START_SECONDS:.0f} s")

    def tell_to_stop(self) -> None:
        """Send SIGTERM; leaving waits for the end."""
        self._process.terminate()

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self.tell_to_stop()
        self._process.join(STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(STOP_SECONDS)
        self._ports.close()


def write_access(folder: Path, table: Path) -> str:
    """Write the access table that the fixtures in *folder* ask for; returns what the deny-list said."""
    steered = (folder / "steering" / "denied").read_text("ascii")
    with (folder / "data" / "denied.csv").open(encoding="utf-8", newline="") as file:
        denied = {row["fingerprint"] for row in csv.DictReader(file)}.union(steered.split())
    with (folder / "data" / "grants.csv").open(encoding="utf-8", newline="") as file:
        lines = [*_grants(csv.DictReader(file))]
    lines += [f'[[deny]]\ncertificate = "{fingerprint}"\nreason = "lost key"\n' for fingerprint in sorted(denied)]
    draft = table.with_suffix(".new")
    draft.write_text("\n".join(lines), "utf-8")
    draft.rename(table)
    return steered


def _grants(rows: Iterable[Mapping[str, str]]) -> Iterable[str]:
    for row in rows:
        until = f"until = {row['until']}\n" if row["until"] else ""
        quota = f"{{ rate = {float(row['rate'])}, burst = {row['burst']}, miss_cost = {row['miss_cost']} }}"
        yield (
            f'[[grant]] # {row["certificate"]}\ncaller = "{row["organization_id"]}"\nmethod = "{row["method"]}"\n'
            f'clause = "{row["clause"]}"\nsince = {row["since"]}\n{until}quota = {quota}\n'
            f"demands = {row['demands'].split()}\n"
        )


def _main(folder: Path, members: Mapping[Instance, ServingSettings], ports: Connection, log: Path) -> None:
    with log.open("ab") as words:
        os.dup2(words.fileno(), 2)
    logs.configure_logging("warning")
    asyncio.run(_serve(folder, members, ports))


async def _serve(folder: Path, members: Mapping[Instance, ServingSettings], ports: Connection) -> None:
    clock = monotonic_wall_clock(Clock(_steered(folder / "steering" / "offset")))
    async with AsyncExitStack() as stack:
        servers = {
            member: await stack.enter_async_context(_open(settings, clock)) for member, settings in members.items()
        }
        for member, settings in members.items():
            if member in DOWN and isinstance(settings, StoreSettings):
                _take_away(settings.store)
        watch = asyncio.create_task(_keep_access(folder, next(iter(members.values())).access))
        ports.send({member: server.port for member, server in servers.items()})
        await wait_for_shutdown()
        watch.cancel()


def _open(settings: ServingSettings, clock: Clock) -> AbstractAsyncContextManager[Server]:
    match settings:
        case PromissorySettings():
            return run_recording_service(settings, questions(settings), clock=clock)
        case JudiciarySettings():
            return run_recording_service(settings, QUESTIONS, clock=clock)
        case SetadSettings():
            return adapter(settings, clock=clock)
        case _:
            raise TypeError("not a service of ours")


def _steered(path: Path) -> Callable[[], int]:
    """The machine's time plus the offset in *path*, which is looked at again every tenth of a second."""
    offset, next_look = 0, 0.0

    def micros() -> int:
        nonlocal offset, next_look
        if (now := time.monotonic()) >= next_look:
            next_look = now + _OFFSET_SECONDS
            offset = int(path.read_text("ascii")) * 1_000_000
        return time.time_ns() // 1000 + offset

    return micros


async def _keep_access(folder: Path, table: Path) -> None:
    """Write the access table anew whenever the steered deny-list has changed."""
    before = write_access(folder, table)
    while True:
        await asyncio.sleep(_DENIED_SECONDS)
        if (folder / "steering" / "denied").read_text("ascii") != before:
            before = write_access(folder, table)


def _take_away(store: str) -> None:
    """Put the store of a running service out of its reach."""
    address = make_url(store)
    if address.drivername == "sqlite":
        folder = Path(address.database or "")
        folder.rename(folder.with_name(f"{folder.name}-taken-away"))
        return
    server = create_engine(address.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{address.database}" WITH (FORCE)'))
    server.dispose()
