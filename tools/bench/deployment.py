"""The services of one sandbox, whose stores are filled through the real command line."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from development import sandbox
from development.processes import COMMAND, environment
from development.sandbox import Sandbox
from estelam.client.channel import ClientIdentity
from judiciary.settings import JudiciarySettings
from promissory.settings import PromissorySettings


@dataclass(frozen=True, slots=True)
class CommandRun:
    """A command that exited with 0, and its cost."""

    seconds: float
    cpu_seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A sandbox with quotas above what a load generator can reach."""

    sandbox: Sandbox

    @classmethod
    def create(cls, folder: Path, stores: Mapping[str, str]) -> "Deployment":
        """Create the sandbox in *folder* with empty stores: at the URLs in *stores*, else on SQLite."""
        return cls(sandbox.create_sandbox(folder, stores=stores, rate=1e7, burst=100_000_000))

    def promissory(self) -> PromissorySettings:
        """The promissory service's settings."""
        return self.sandbox.promissory(listen="127.0.0.1:0", log_level="error")

    def judiciary(self) -> JudiciarySettings:
        """The judiciary service's settings."""
        return self.sandbox.judiciary(listen="127.0.0.1:0", log_level="error")

    def caller(self, name: str) -> ClientIdentity:
        """The client identity of the load generator."""
        return ClientIdentity.named(self.sandbox.pki, name)

    def command(self, *arguments: str | Path, core: int | None = None) -> CommandRun:
        """Run a command, on one *core* if given.

        Raises:
            RuntimeError: it failed; the text includes its output.
        """
        cores = os.sched_getaffinity(0) if core is None else {core}
        before, started = _cpu_of_children(), time.perf_counter()
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=environment(self.sandbox),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        taken = time.perf_counter() - started
        if done.returncode:
            raise RuntimeError(f"estelam {' '.join(map(str, arguments))}: {done.stderr or done.stdout}")
        return CommandRun(taken, _cpu_of_children() - before, done.stdout)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
