"""Runs a service in this process: logs, the bound port for its parent, and an orderly shutdown on a signal."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from estelam.core.files import write_atomic
from estelam.telemetry import logs


class Listening(Protocol):
    """A running service."""

    @property
    def port(self) -> int:
        """The bound port."""


def run_until_shutdown(
    service: Callable[[], AbstractAsyncContextManager[Listening]], *, log_level: str, port_file: Path | None = None
) -> None:
    """Run *service* until SIGTERM or SIGINT; write its port to *port_file* once it listens."""
    logs.configure_logging(log_level)
    asyncio.run(_run(service, port_file))


async def _run(service: Callable[[], AbstractAsyncContextManager[Listening]], port_file: Path | None) -> None:
    async with service() as running:
        write_port(port_file, running.port)
        await wait_for_shutdown()


async def wait_for_shutdown() -> None:
    """Wait for SIGTERM or SIGINT; in a worker, also for the end of the parent process."""
    shutdown = asyncio.Event()
    loop = asyncio.get_running_loop()
    if parent := multiprocessing.parent_process():
        loop.add_reader(parent.sentinel, shutdown.set)  # no process would be left to stop the worker
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    await shutdown.wait()


def write_port(path: Path | None, port: int) -> None:
    """Write the bound *port* to the file *path*, atomically, for the process that started this one."""
    if path is not None:
        write_atomic(path, f"{port}\n")
