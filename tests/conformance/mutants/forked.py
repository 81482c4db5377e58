"""Runs a function in a forked process, so that nothing of a mutant, not even a hang, outlives it."""

import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Work = Callable[[Path], dict[str, Any]]


@dataclass
class _Child:
    name: str
    pid: int
    pipe: int
    folder: Path
    until: float
    received: bytes = b""


def run_forked(
    works: Sequence[tuple[str, Work]], jobs: int, limit_seconds: float
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield each named work's result as it ends; None if it ran longer than *limit_seconds*.

    Each work is called with an empty folder of its own. This process must not have started gRPC, which does not survive
    a fork.

    Raises:
        RuntimeError: a work raised an error.
    """
    waiting, children = list(reversed(works)), list[_Child]()
    try:
        while waiting or children:
            while waiting and len(children) < jobs:
                children.append(_start(*waiting.pop(), limit_seconds))
            ready, _, _ = select.select([child.pipe for child in children], [], [], 0.5)
            for child in [*children]:
                part = os.read(child.pipe, 65536) if child.pipe in ready else b""
                child.received += part
                if child.pipe in ready and not part:
                    children.remove(child)
                    yield child.name, _end(child)
                elif time.monotonic() > child.until:
                    children.remove(child)
                    child.received = b""
                    yield child.name, _end(child)
    finally:
        for child in children:
            _end(child)


def _start(name: str, work: Work, limit_seconds: float) -> _Child:
    reading, writing = os.pipe()
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.close(reading)
        try:
            result = json.dumps(work(folder))
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            result = json.dumps({"error": repr(error)})
        os.write(writing, result.encode())
        os._exit(0)
    os.close(writing)
    return _Child(name, pid, reading, folder, time.monotonic() + limit_seconds)


def _end(child: _Child) -> dict[str, Any] | None:
    """Kill the process with those that it started, and return its result; None if it has none.

    Raises:
        RuntimeError: the work raised an error.
    """
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    os.waitpid(child.pid, 0)
    os.close(child.pipe)
    shutil.rmtree(child.folder, ignore_errors=True)
    if not child.received:
        return None
    result: dict[str, Any] = json.loads(child.received)
    if "error" in result:
        raise RuntimeError(f"{child.name}: {result['error']}")
    return result
