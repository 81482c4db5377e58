"""Servers in processes of their own, each on one core, and the CPU time and memory of a process."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.env.python_process import PythonProcess


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens."""

    pid: int
    port: int


@contextmanager
def run_server(main: Callable[..., None], *arguments: Any, core: int) -> Iterator[RunningServer]:
    """Run *main* on *core* until the end of the block; its last argument is the file to write its port to."""
    with (
        tempfile.TemporaryDirectory() as folder,
        PythonProcess(main, *arguments, ready_file=Path(folder, "port"), core=core) as process,
    ):
        yield RunningServer(process.pid, int(process.wait_until_ready()))


def cpu_seconds(pid: int) -> float:
    """CPU seconds that process *pid* has used so far, in all its threads, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float:
    """The peak resident memory of this process in MiB; getrusage would include its parent's."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError("/proc/self/status has no VmHWM")
    return int(found[1]) / 1024


def resident_mib(pid: int) -> float:
    """The resident memory of process *pid* in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
