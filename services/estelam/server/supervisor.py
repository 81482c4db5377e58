"""Runs several worker processes on one port: starts, monitors, replaces, restarts and stops them.

Each worker is a complete service; the kernel distributes new connections among them. On SIGHUP each worker in turn is
replaced by a new one, which reads the settings anew and listens before the old one shuts down.
"""

import multiprocessing
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import structlog

from estelam.core import addresses
from estelam.core.exceptions import ServerError, UserFacingError, describe_error
from estelam.core.settings import ServingSettings, StoreSettings
from estelam.server.process import write_port
from estelam.server.signals import Signals
from estelam.storage.store import is_single_process
from estelam.telemetry import logs

log = structlog.get_logger()

START_SECONDS = 60.0
STOP_SECONDS = 60.0
RESTART_DELAY_SECONDS = 1.0
"""The pause before a worker that exited is replaced, so that one that can't start is not started in a loop."""
# A forked child would share the state of gRPC and of the store with its parent.
_SPAWN = multiprocessing.get_context("spawn")

S = TypeVar("S", bound=ServingSettings)
Main = Callable[[Callable[[], S], Path | None], None]


def serve(main: Main[S], load: Callable[[], S], workers: int, port_file: Path | None) -> None:
    """Run *workers* processes of *main* on one port until SIGTERM or SIGINT; write the port once all listen.

    Each process reads its settings with *load*, which must be picklable.

    Raises:
        SettingsError: the settings are invalid.
        ServerError: the port is taken, or a worker did not start.
    """
    if workers == 1:
        main(load, port_file)
        return
    settings = load()
    if isinstance(settings, StoreSettings) and is_single_process(settings.store):
        raise ServerError("SQLite allows one serving process; --workers needs a postgresql+psycopg:// store")
    logs.configure_logging(settings.log_level)
    _, port = addresses.split(settings.metrics_listen)
    if port + workers > 65536:
        raise ServerError(
            f"{settings.SECTION}.metrics_listen: {workers} workers take the ports from {port} on, past 65535"
        )
    with ExitStack() as reserved:
        listen = reserved.enter_context(reserve_port(settings.origin("listen"), settings.listen))
        for slot in range(workers if port else 0):
            metrics = _metrics_listen(settings, slot)
            reserved.enter_context(reserve_port(settings.origin("metrics_listen"), metrics))
        folder = reserved.enter_context(tempfile.TemporaryDirectory())
        signals = Signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        pool = WorkerPool(partial(_run_worker, main, load, listen, Path(folder)), Path(folder), signals)
        try:
            pool.start(workers)
            write_port(port_file, int(listen.rpartition(":")[2]))
            pool.watch()
        finally:
            pool.stop()


@contextmanager
def reserve_port(setting: str, listen: str) -> Iterator[str]:
    """Reserve *listen*, the value of *setting*, for the workers; yield it with the port chosen.

    The socket that reserves it is bound and never listens.

    Raises:
        ServerError: the port is taken.
    """
    # Bound without SO_REUSEPORT, so that a server already listening there is noticed; shared afterwards.
    with addresses.bind(setting, listen) as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield f"{listen.rpartition(':')[0]}:{reserved.getsockname()[1]}"


def _run_worker(main: Main[S], load: Callable[[], S], listen: str, folder: Path, slot: int, port_file: Path) -> None:
    """Run *main* in the worker process in *slot*, on the port of *listen*; log why it can't start."""
    logs.configure_logging()  # until the settings are read
    try:
        main(partial(_worker_settings, load, listen, folder, slot), port_file)
    except (UserFacingError, OSError) as error:
        log.error("worker.failed", error=describe_error(error))
        sys.exit(1)


def _worker_settings(load: Callable[[], S], listen: str, folder: Path, slot: int) -> S:
    """Load the settings of the worker in *slot*: each has its own metrics port, unless the port is 0 (any).

    What all workers share is in *folder*, unless the settings name another file.
    """
    settings = load()
    changes = {
        "listen": listen,
        "shares_port": True,
        "metrics_listen": _metrics_listen(settings, slot),
        "quota_table": settings.quota_table or folder / "quotas",
    }
    return settings.model_copy(update=changes)


def _metrics_listen(settings: ServingSettings, slot: int) -> str:
    """The address of the metrics of the worker in *slot*, and of the worker that replaces it."""
    host, _, port = settings.metrics_listen.rpartition(":")
    return f"{host}:{int(port) and int(port) + slot}"


class WorkerPool:
    """The worker processes, and the signals that their parent has received."""

    def __init__(self, run: Callable[[int, Path], None], folder: Path, signals: Signals) -> None:
        self._run = run
        self._folder = folder
        self._signals = signals
        self._workers: dict[BaseProcess, int] = {}
        """Each process with its slot: 0, 1, 2, …"""
        self._started = 0
        self._is_stopping = False
        self._must_restart = False

    def start(self, workers: int) -> None:
        """Start *workers* processes, and wait until all listen.

        Raises:
            ServerError: a worker exited, or did not listen in time.
        """
        for process, port_file in [self._start_worker() for _ in range(workers)]:
            self._wait_until_ready(process, port_file)

    def watch(self) -> None:
        """Replace workers that exit, and restart all on SIGHUP, until a signal to stop."""
        while not self._stopping():
            if not self._must_restart:
                wait([self._signals.socket, *(process.sentinel for process in self._workers)])
            if not self._stopping() and self._must_restart:
                self._must_restart = False
                self._rolling_restart()
            for process in [process for process in self._workers if not process.is_alive()]:
                self._replace(process)

    def stop(self) -> None:
        """Terminate all workers, and wait for their orderly shutdown; kill those that take too long."""
        self._is_stopping = True
        for process in self._workers:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._workers:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()

    def _stopping(self) -> bool:
        """Return whether a signal to stop has arrived; a SIGHUP is noted for `watch`."""
        received = self._signals.take()
        self._must_restart |= signal.SIGHUP in received
        self._is_stopping |= bool(received - {signal.SIGHUP})
        return self._is_stopping

    def _replace(self, exited: BaseProcess) -> None:
        if self._stopping():
            return
        log.error("worker.exited", status=exited.exitcode)
        del self._workers[exited]
        time.sleep(RESTART_DELAY_SECONDS)
        if not self._stopping():
            self._start_worker()

    def _rolling_restart(self) -> None:
        for replaced, old in enumerate(workers := list(self._workers)):
            if self._stopping():
                return
            process, port_file = self._start_worker(self._workers[old])
            try:
                self._wait_until_ready(process, port_file)
            except ServerError:
                # The old workers stay: a failed restart must not reduce the service. Those replaced before stay too:
                # only the files as they were could start others with the old settings.
                log.error("workers.restart_failed", replaced=replaced, kept=len(workers) - replaced)
                del self._workers[process]
                return
            old.terminate()
            old.join(STOP_SECONDS)
            old.kill()  # a worker that hangs would otherwise run on unmonitored
            del self._workers[old]
        log.info("workers.restarted", workers=len(self._workers))

    def _start_worker(self, slot: int | None = None) -> tuple[BaseProcess, Path]:
        """Start a worker in *slot*, that of the one it replaces, or else in the first that is free."""
        self._started += 1
        port_file = self._folder / str(self._started)
        if slot is None:
            slot = min(set(range(len(self._workers) + 1)) - set(self._workers.values()))
        process = _SPAWN.Process(target=self._run, args=(slot, port_file), name=f"worker-{self._started}")
        process.start()
        self._workers[process] = slot
        return process, port_file

    def _wait_until_ready(self, process: BaseProcess, port_file: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if not process.is_alive() or time.monotonic() > deadline:
                process.kill()
                raise ServerError("a worker did not start; its error is in the log above")
            time.sleep(0.02)
