"""Runs a service in this process: logs, the bound port for its parent, restart and orderly shutdown on a signal."""

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

import structlog

from estelam.core.files import write_atomic
from estelam.server.signals import Signals
from estelam.telemetry import logs

log = structlog.get_logger()


class Listening(Protocol):
    """A running service."""

    @property
    def port(self) -> int:
        """The bound port."""


def run_until_shutdown(
    service: Callable[[], AbstractContextManager[Listening]], *, log_level: str, port_file: Path | None = None
) -> None:
    """Run *service* until SIGTERM or SIGINT; on SIGHUP shut it down in order and run it again.

    Each time it listens, its port is written to *port_file*.
    """
    logs.configure_logging(log_level)
    # During the first start a SIGHUP already counts, while SIGTERM and SIGINT end the process as by default.
    with contextlib.closing(Signals(signal.SIGHUP)) as signals:
        with service() as running:
            write_port(port_file, running.port)
            signals.add(signal.SIGTERM, signal.SIGINT)
            stopping = wait_for_signal(signals)
        while not (stopping or signals.take() - {signal.SIGHUP}):
            with service() as running:
                write_port(port_file, running.port)
                log.info("service.restarted", port=running.port)
                stopping = wait_for_signal(signals)


def wait_for_signal(signals: Signals) -> bool:
    """Wait, in the main thread, for a signal; in a worker, also for the end of the parent process.

    Return whether the service is to stop: False after a SIGHUP alone.
    """
    parent = multiprocessing.parent_process()
    sentinels = [parent.sentinel] if parent else []  # without its parent, nothing would stop a worker
    while not (received := signals.take()):
        if wait([signals.socket, *sentinels]) != [signals.socket]:
            return True
    return received != {signal.SIGHUP}


def write_port(path: Path | None, port: int) -> None:
    """Write the bound *port* to the file *path*, atomically, for the process that started this one."""
    if path is not None:
        write_atomic(path, f"{port}\n")
