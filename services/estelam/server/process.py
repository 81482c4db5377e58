"""What each serving process does besides serving: waits for its signal to shut down, and reports the port it bound."""

import asyncio
import multiprocessing
import signal
from pathlib import Path

from estelam.core.files import write_atomic


async def wait_for_shutdown() -> None:
    """Wait for SIGTERM or SIGINT or, in a worker, for the parent's end."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    if parent := multiprocessing.parent_process():
        loop.add_reader(parent.sentinel, told.set)  # a worker does not outlive whoever would stop it
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def write_port(path: Path | None, port: int) -> None:
    """Tell whoever started this process, through the file *path*, which port was bound."""
    if path is not None:
        write_atomic(path, f"{port}\n")
