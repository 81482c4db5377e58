"""Many processes behind one port: started, watched, replaced when they fall, renewed one by one, stopped together.

Each worker is a whole service of its own; the kernel shares new connections out among them. On SIGHUP every worker is
replaced by a new one that already listens before the old one leaves.
"""

import multiprocessing
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import structlog

from estelam.core.exceptions import ServerError
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.server.process import write_port
from estelam.storage.store import is_single_process
from estelam.telemetry import logs

log = structlog.get_logger()

START_SECONDS = 60.0
STOP_SECONDS = 60.0
RESTART_DELAY_SECONDS = 1.0
"""How long a worker's place stays empty after it fell, so that one that can't start does not start all the time."""
# A forked child would share gRPC's and the store's innards with its parent.
_SPAWN = multiprocessing.get_context("spawn")

S = TypeVar("S", bound=ServingSettings)
Main = Callable[[S, Path | None], None]


def serve(main: Main[S], settings: S, workers: int, port_file: Path | None) -> None:
    """Run *workers* processes of *main* on one port until SIGTERM or SIGINT; write the port once all listen.

    Raises:
        ServerError: the port is taken, or a worker did not start.
    """
    if workers == 1:
        main(settings, port_file)
        return
    if isinstance(settings, StoreSettings) and is_single_process(settings.store):
        raise ServerError("SQLite allows one serving process; --workers needs a postgresql+psycopg:// store")
    logs.configure_logging(settings.log_level)
    with reserve_port(settings.listen) as listen, tempfile.TemporaryDirectory() as folder:
        crew = WorkerPool(main, settings.model_copy(update={"listen": listen, "shares_port": True}), Path(folder))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, crew.on_signal)
        try:
            crew.start(workers)
            write_port(port_file, int(listen.rpartition(":")[2]))
            crew.watch()
        finally:
            crew.stop()


@contextmanager
def reserve_port(listen: str) -> Iterator[str]:
    """Keep host:port for the workers alone, as far as that can be: a socket that is bound and never listens."""
    host, _, port = listen.rpartition(":")
    held = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
    with held:
        try:
            # Bound without sharing, so that whoever listens there already does not go unnoticed; shared from then on.
            held.bind((host.strip("[]"), int(port)))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            raise ServerError(f"{listen} can't be bound; is another server there?") from error
        yield f"{host}:{held.getsockname()[1]}"


class WorkerPool:
    """The workers, and what their parent was told."""

    def __init__(self, main: Callable[[Any, Path | None], None], settings: ServingSettings, folder: Path) -> None:
        self._main = main
        self._settings = settings
        self._folder = folder
        self._crew: dict[BaseProcess, int] = {}
        self._made = 0
        self._stopping = False
        self._renewing = False
        self._reader, self._writer = _SPAWN.Pipe(duplex=False)

    def on_signal(self, number: int, _frame: object) -> None:
        """Take a signal."""
        self._stopping = self._stopping or number != signal.SIGHUP
        self._renewing = self._renewing or number == signal.SIGHUP
        self._writer.send_bytes(b"!")

    def start(self, workers: int) -> None:
        """Start *workers*, and wait until all listen."""
        for process, ready in [self._begin() for _ in range(workers)]:
            self._await(process, ready)

    def watch(self) -> None:
        """Replace whoever falls, renew all when told to, until told to stop."""
        while not self._stopping:
            found = wait([self._reader, *(process.sentinel for process in self._crew)])
            if self._reader in found:
                self._reader.recv_bytes()
            if self._renewing and not self._stopping:
                self._renewing = False
                self._rolling_restart()
            for process in [process for process in self._crew if not process.is_alive()]:
                self._replace(process)

    def stop(self) -> None:
        """Tell all to stop, and wait for their orderly end."""
        self._stopping = True
        for process in self._crew:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._crew:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()

    def _replace(self, fallen: BaseProcess) -> None:
        if self._stopping:
            return
        log.error("worker.fell", status=fallen.exitcode)
        del self._crew[fallen]
        time.sleep(RESTART_DELAY_SECONDS)
        if not self._stopping:
            self._begin()

    def _rolling_restart(self) -> None:
        for old in list(self._crew):
            if self._stopping:
                return
            process, ready = self._begin()
            try:
                self._await(process, ready)
            except ServerError:
                # The old ones stay: a renewal that fails must not take anything away.
                log.error("workers.not_renewed")
                del self._crew[process]
                return
            old.terminate()
            old.join(STOP_SECONDS)
            old.kill()  # what hangs must not live on where nobody watches it
            del self._crew[old]
        log.info("workers.renewed", workers=len(self._crew))

    def _begin(self) -> tuple[BaseProcess, Path]:
        self._made += 1
        ready = self._folder / str(self._made)
        place = min(set(range(len(self._crew) + 1)) - set(self._crew.values()))
        process = _SPAWN.Process(target=self._main, args=(self._placed(place), ready), name=f"worker-{self._made}")
        process.start()
        self._crew[process] = place
        return process, ready

    def _placed(self, place: int) -> ServingSettings:
        """The settings of the worker in one place: each has a port of its own for its figures, unless it is any."""
        host, _, port = self._settings.metrics_listen.rpartition(":")
        figures = f"{host}:{int(port) and int(port) + place}"
        return self._settings.model_copy(update={"metrics_listen": figures})

    def _await(self, process: BaseProcess, ready: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if not process.is_alive() or time.monotonic() > deadline:
                process.kill()
                raise ServerError("a worker did not start; its own words stand above")
            time.sleep(0.02)
