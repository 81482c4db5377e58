"""Servers in processes of their own, each kept to one core, and what they cost."""

import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_SECONDS = 30.0
STOP_SECONDS = 10.0

# A forked child would share gRPC's and SQLite's innards with its parent.
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    pid: int
    port: int


@contextmanager
def running(main: Callable[..., None], *arguments: Any, core: int) -> Iterator[Running]:
    """A process on *core* in which *main* serves until SIGTERM; its last argument is the file to write its port to."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = Path(folder, "port")
        process = SPAWN.Process(target=_on_core, args=(core, main, (*arguments, port_file)))
        process.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not port_file.exists():
                if not process.is_alive() or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start")
                time.sleep(0.05)
            yield Running(process.pid or 0, int(port_file.read_text("ascii")))
        finally:
            process.terminate()
            process.join(STOP_SECONDS)
            process.kill()


def _on_core(core: int, main: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.sched_setaffinity(0, {core})
    main(*arguments)


def cpu_seconds(pid: int) -> float:
    """CPU time that process *pid* has used so far, in all its threads, its own and the kernel's on its behalf."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float:
    """The most resident memory that this process ever had; getrusage would tell of its parent's too."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError("the system does not tell a process's peak memory")
    return int(found[1]) / 1024


def resident_mib(pid: int) -> float:
    """The resident memory of process *pid*."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
