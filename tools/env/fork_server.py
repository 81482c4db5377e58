"""A launcher for `ServiceProcess` that forks services from one process that has imported everything.

Interpreter and imports are four fifths of a service's start. gRPC does not survive a fork once it has started, so the
fork server starts nothing; a forked child runs the real command line from its first argument on.
"""

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from development.processes import TIED_TO_PARENT

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.002


class ForkedProcess:
    """A process that is not our child, with the methods of `LaunchedProcess`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it runs, else -1: the real exit status is known to its parent only."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return -1
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns 0 since the real exit status is known to its parent only."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(POLL_SECONDS)
        return 0

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that services are forked from; `launch` is a `Launcher`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [*TIED_TO_PARENT, sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def launch(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> ForkedProcess:
        """Fork a process in which `estelam *arguments*` runs, its output appended to *log*."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the fork server has no pipes")
        with self._lock:
            self._process.stdin.write(json.dumps([arguments, dict(environ), str(log)]) + "\n")
            self._process.stdin.flush()
            return ForkedProcess(int(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def main() -> None:
    """Import everything, then fork a child for each line of standard input and print its pid."""
    # Only the fork server's own process needs them.
    from estelam.cli.deferred import implementation  # noqa: PLC0415
    from estelam.cli.root import all_commands, root_command  # noqa: PLC0415

    command = root_command()
    for declared in all_commands(command).values():
        implementation(declared.callback)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel
    for line in sys.stdin:
        arguments, environ, log = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            continue
        _prepare_child(environ, log)
        sys.argv = ["estelam", *arguments]
        command(prog_name="estelam")


def _prepare_child(environ: Mapping[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    with open(os.devnull, "rb") as nothing, open(log, "ab") as output:  # noqa: PTH123 - by descriptors
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


if __name__ == "__main__":
    main()
