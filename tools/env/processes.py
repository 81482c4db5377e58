"""The real services as processes of their own, through the real command line: started, awaited, stopped, killed."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

from tools.env.sandbox import Sandbox

SERVICES = ("promissory", "judiciary", "setad")
"""In the order in which they start; each needs only those before it."""

QUALITY = "quality"
"""The process that watches them; it needs none of them to start."""

COMMAND = Path(sys.executable).with_name("estelam")
# Whoever starts a service may be killed; on Linux the service is then told to stop, and leaves no port taken behind.
_TIE = """\
import ctypes, os, sys
PR_SET_PDEATHSIG, SIGTERM = 1, 15
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""
TIED = (sys.executable, "-SEc", _TIE)
START_SECONDS = 60.0
STOP_SECONDS = 30.0
UNASSIGNED = range(16_000, 32_000)
COMMAND_SECONDS = 120.0


class ProcessError(Exception):
    """A service did not start or stop as told; the text says what it said itself."""


class Service:
    """One service of a sandbox as a process; from its first start on it keeps its port."""

    def __init__(
        self,
        name: str,
        sandbox: Sandbox,
        *,
        listen: str | None = None,
        workers: int = 1,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = 0
        self.log = sandbox.folder / "logs" / f"{name}.log"
        self._port_file = sandbox.folder / f"{name}.port"
        self._listen = listen
        self._workers = workers
        self.environ = environment(sandbox, environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def address(self) -> str:
        """Where the service is."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        return 0 if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """With which status the process ended; None while it runs or before it was launched."""
        return None if self._process is None else self._process.poll()

    def launch(self) -> Self:
        """Begin to start; `wait` for the end of it."""
        self._port_file.unlink(missing_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        listen = ["--listen", self._listen] if self._listen else []
        workers = ["--workers", str(self._workers)] if self._workers > 1 else []
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = self.begin(
                [self.name, "serve", *listen, *workers, "--port-file", str(self._port_file)], log
            )
        return self

    def begin(self, words: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """A new process in which `estelam *words*` runs, with the service's own environment."""
        return subprocess.Popen(
            [*TIED, COMMAND, *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is for whoever started the services, who then stops them in order.
            start_new_session=True,
        )

    def wait(self) -> Self:
        """Wait until the service listens.

        Raises:
            ProcessError: it ended instead, or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._port_file.exists():
            if self.ended is not None:
                raise ProcessError(f"{self.name} did not start: {self.words() or f'status {self.ended}'}")
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessError(f"{self.name} did not start within {START_SECONDS:.0f} s")
            time.sleep(0.02)
        self.port = int(self._port_file.read_text("ascii"))
        self._listen = self._listen if self._listen and not self._listen.endswith(":0") else self.address
        return self

    def start(self) -> Self:
        """Start, and wait until the service listens; after a stop or a kill, on the same port again."""
        return self.launch().wait()

    def signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self._process is not None and self.ended is None:
            self._process.send_signal(number)

    def tell_to_stop(self) -> None:
        """Send SIGTERM."""
        self.signal(signal.SIGTERM)

    def stop(self) -> int:
        """Send SIGTERM and wait for an orderly end; returns the exit status.

        Raises:
            ProcessError: it had to be killed.
        """
        if self._process is None:
            return 0
        self.tell_to_stop()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProcessError(f"{self.name} did not stop within {STOP_SECONDS:.0f} s") from None

    def kill(self) -> None:
        """End the process with SIGKILL, which it can't notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def words(self) -> str:
        """What the process has said since its launch, its log events left out."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode("utf-8", "replace").splitlines()
        return " ".join(line.strip() for line in lines if not line.startswith("{"))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def environment(sandbox: Sandbox, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command that uses *sandbox*; settings of the surrounding shell don't reach it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESTELAM_")}
    return {**inherited, **(more or {}), **sandbox.environ}


def estelam(sandbox: Sandbox, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command on *sandbox*, in *folder* if given, and keep what it says."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=environment(sandbox),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


def free_ports(*names: str) -> dict[str, int]:
    """A port for each of *names*, free a moment ago and not of those that the system hands out by itself meanwhile."""
    with ExitStack() as held:
        return {name: held.enter_context(_held()).getsockname()[1] for name in names}


def _held() -> socket.socket:
    while True:
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", random.choice(UNASSIGNED)))
