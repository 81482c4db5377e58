"""Runs a service in this process: logs, the bound port for its parent, and an orderly shutdown on a signal."""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Protocol

from estelam.core.files import write_atomic
from estelam.server.signals import SignalWakeup
from estelam.telemetry import logs


class Listening(Protocol):
    """A running service."""

    @property
    def port(self) -> int:
        """The bound port."""


def run_until_shutdown(
    service: Callable[[], AbstractContextManager[Listening]], *, log_level: str, port_file: Path | None = None
) -> None:
    """Run *service* until SIGTERM or SIGINT; write its port to *port_file* once it listens."""
    logs.configure_logging(log_level)
    with service() as running:
        write_port(port_file, running.port)
        wait_for_shutdown()


def wait_for_shutdown() -> None:
    """Wait, in the main thread, for SIGTERM or SIGINT; in a worker, also for the end of the parent process."""
    received: list[int] = []
    wakeup = SignalWakeup(received.append, signal.SIGTERM, signal.SIGINT)
    parent = multiprocessing.parent_process()
    sentinels = [parent.sentinel] if parent else []  # without its parent, nothing would stop a worker
    while not received and wait([wakeup.socket, *sentinels]) == [wakeup.socket]:
        wakeup.clear()


def write_port(path: Path | None, port: int) -> None:
    """Write the bound *port* to the file *path*, atomically, for the process that started this one."""
    if path is not None:
        write_atomic(path, f"{port}\n")
