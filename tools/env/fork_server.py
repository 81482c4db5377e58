"""Services born ready: forked from one process that has imported everything and started nothing.

Interpreter and imports are four fifths of a start. gRPC does not outlive a fork once it has begun, so the parent here
begins nothing; what a child runs is the real command line, from its first word on.
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
from typing import IO, Any, Self

from tools.env.processes import TIED, Service
from tools.env.sandbox import Sandbox

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.002


class Child:
    """A process that this one did not start itself, with what `Service` needs of a `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """None while it lives; how it ended is not known."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return -1
        return None

    def wait(self, timeout: float) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(POLL_SECONDS)
        return 0

    def send_signal(self, number: int) -> None:
        """Signal it, if it still lives."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that services are forked from."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] = subprocess.Popen(
            [*TIED, sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def bear(self, words: Sequence[str], environ: Mapping[str, str], log: Path) -> Child:
        """A new process in which `estelam *words*` runs."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the nursery has no pipes")
        with self._turn:
            self._process.stdin.write(json.dumps([words, dict(environ), str(log)]) + "\n")
            self._process.stdin.flush()
            return Child(int(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


class Nursling(Service):
    """A service born in a nursery."""

    def __init__(
        self, nursery: Nursery, name: str, sandbox: Sandbox, *, environ: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, sandbox, environ=environ)
        self._nursery = nursery

    def begin(self, words: Sequence[str], _log: IO[bytes]) -> Any:
        """Begin the process."""
        return self._nursery.bear(words, self.environ, self.log)


def main() -> None:
    """Import everything, then fork a child for each line of standard input."""
    from estelam.cli import application  # noqa: PLC0415 - only here: whoever asks a nursery needs none of it

    command = application()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children vanish when they end
    for line in sys.stdin:
        words, environ, log = json.loads(line)
        if pid := os.fork():
            print(pid, flush=True)
            continue
        _begin_life(environ, log)
        sys.argv = ["estelam", *words]
        command()


def _begin_life(environ: Mapping[str, str], log: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(environ)
    with open(os.devnull, "rb") as nothing, open(log, "ab") as said:  # noqa: PTH123 - by descriptors
        os.dup2(nothing.fileno(), 0)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)


if __name__ == "__main__":
    main()
