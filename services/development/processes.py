"""Services as processes, started in one of two ways.

`ServiceProcess` runs the real command line (`estelam SERVICE serve`); a launcher decides how its process is created:
`spawn_command` starts a new interpreter; the tests fork one that has imported everything.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol, Self

from development.process_limits import POLL_SECONDS, START_SECONDS, STOP_SECONDS, ProcessError
from development.sandbox import Sandbox

SERVICES = ("promissory", "judiciary", "setad")
"""In the order in which they start; each needs only those before it."""

QUALITY = "quality"
"""The process that monitors them; it needs none of them to start."""

COMMAND = (sys.executable, "-Pm", "estelam")
"""Runs the command line also where its script is not beside the interpreter."""
# If the parent is killed, Linux sends SIGTERM to the service, so that no port stays taken.
_SET_PDEATHSIG = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGTERM = 1, 15
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""
TIED_TO_PARENT = (sys.executable, "-SEc", _SET_PDEATHSIG)
"""Command prefix: the command ends with SIGTERM when its parent ends."""

UNASSIGNED_PORTS = range(16_000, 32_000)
COMMAND_SECONDS = 120.0


class LaunchedProcess(Protocol):
    """What `ServiceProcess` needs of a process; `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""

    def kill(self) -> None:
        """Send SIGKILL."""


Launcher = Callable[[Sequence[str], Mapping[str, str], Path], LaunchedProcess]
"""Starts `estelam *arguments*` with an environment; stdout and stderr are appended to the log file."""


def spawn_command(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> LaunchedProcess:
    """Start `estelam *arguments*` in a new interpreter and a new session.

    Ctrl-C then reaches only the parent, which stops the services in order.
    """
    return _spawn([*COMMAND, *arguments], environ, log)


def spawn_sandbox_service(arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> LaunchedProcess:
    """Start a service of `estelam dev --sandbox` as `spawn_command` starts a real one."""
    return _spawn([sys.executable, "-Pm", "development.sandbox_service", *arguments], environ, log)


def _spawn(command: Sequence[str], environ: Mapping[str, str], log: Path) -> LaunchedProcess:
    with log.open("ab") as output:
        return subprocess.Popen(
            [*TIED_TO_PARENT, *command],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class ServiceProcess:
    """One service of a sandbox in a process of its own; it keeps the port of its first start."""

    def __init__(
        self,
        name: str,
        sandbox: Sandbox,
        *,
        listen: str | None = None,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
        launcher: Launcher = spawn_command,
    ) -> None:
        self.name = name
        self.port = 0
        self.log = sandbox.folder / "logs" / f"{name}.log"
        self.environ = environment(sandbox, environ)
        self._port_file = sandbox.folder / f"{name}.port"
        self._listen = listen
        self._workers = workers
        self._launcher = launcher
        self._process: LaunchedProcess | None = None
        self._log_start = 0

    @property
    def address(self) -> str:
        """Its host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process; 0 before the first launch."""
        return 0 if self._process is None else self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The status with which the process ended; None while it runs or before it was launched."""
        return None if self._process is None else self._process.poll()

    def launch(self) -> Self:
        """Start the process without waiting until it listens; `wait` does."""
        self._port_file.unlink(missing_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch()
        self._log_start = self.log.stat().st_size
        listen = ["--listen", self._listen] if self._listen else []
        workers = ["--workers", str(self._workers)] if self._workers > 1 else []
        arguments = [self.name, "serve", *listen, *workers, "--port-file", str(self._port_file)]
        self._process = self._launcher(arguments, self.environ, self.log)
        return self

    def wait(self) -> Self:
        """Wait until the service listens.

        Raises:
            ProcessError: it ended instead, or takes longer than START_SECONDS.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._port_file.exists():
            if self.exit_status is not None:
                raise ProcessError(f"{self.name} did not start: {self.output() or f'status {self.exit_status}'}")
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessError(f"{self.name} did not start within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        self.port = int(self._port_file.read_text("ascii"))
        self._listen = self._listen if self._listen and not self._listen.endswith(":0") else self.address
        return self

    def start(self) -> Self:
        """Start, and wait until the service listens; after a stop or a kill, on the same port again."""
        return self.launch().wait()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None and self.exit_status is None:
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.signal(signal.SIGTERM)

    def stop(self) -> int:
        """Send SIGTERM, wait for an orderly end, and return the exit status.

        Raises:
            ProcessError: it had to be killed after STOP_SECONDS.
        """
        if self._process is None:
            return 0
        self.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(f"{self.name} did not stop within {STOP_SECONDS:.0f} s") from None

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def output(self) -> str:
        """What the process has printed since its launch, without its log events."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        return " ".join(line.strip() for line in lines if not line.startswith("{"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def environment(sandbox: Sandbox, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command that uses *sandbox*: ours without any ESTELAM_ variable, plus *more*."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESTELAM_")}
    return {**inherited, **(more or {}), **sandbox.environ}


def run_command(
    sandbox: Sandbox, *arguments: str | Path, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one `estelam` command on *sandbox*, in *folder* and with *environ* if given, and capture its output."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(sandbox, environ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each of *names*, outside the range from which the system assigns ports by itself."""
    with ExitStack() as reserved:
        return {name: reserved.enter_context(_reserve_port()).getsockname()[1] for name in names}


def _reserve_port() -> socket.socket:
    while True:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", random.choice(UNASSIGNED_PORTS)))
