"""A function in a new interpreter; its own module, so that the child imports nothing but what it runs."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from development.process_limits import POLL_SECONDS, START_SECONDS, STOP_SECONDS, ProcessError

SPAWN = multiprocessing.get_context("spawn")
"""New interpreters, since a forked child would share gRPC's and SQLite's state with its parent."""


class PythonProcess:
    """A function in a new interpreter, which serves until SIGTERM.

    Args:
        main: called with *arguments* and, last, the path of a file to write when it is ready.
        arguments: must be picklable.
        core: the only CPU core that it may use; None for any.
        log: the file that its stderr is appended to; None for ours.
    """

    def __init__(
        self,
        main: Callable[..., None],
        *arguments: Any,
        ready_file: Path,
        core: int | None = None,
        log: Path | None = None,
    ) -> None:
        self._ready_file = ready_file
        self._log = log
        self._process = SPAWN.Process(target=_run_main, args=(main, (*arguments, ready_file), core, log))

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid or 0

    def wait_until_ready(self) -> str:
        """Wait for the ready file and return its text.

        Raises:
            ProcessError: the process ended instead, or takes longer than START_SECONDS.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._ready_file.exists():
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise ProcessError(f"the process did not start: {self._output()}")
            time.sleep(POLL_SECONDS)
        return self._ready_file.read_text("ascii")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def _output(self) -> str:
        return self._log.read_text("utf-8", "replace")[-2000:] if self._log and self._log.exists() else "see its output"

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self._process.join(STOP_SECONDS)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join(STOP_SECONDS)


def _run_main(main: Callable[..., None], arguments: tuple[Any, ...], core: int | None, log: Path | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    if log is not None:
        with log.open("ab") as output:
            os.dup2(output.fileno(), 2)
    main(*arguments)
