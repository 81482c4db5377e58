"""Store on SQLite: two files in one folder, attached under the names of the schemas.

With two files a load does not block inquiries, each file has one writing process, and a reader can't write: it opens
its file read-only.
"""

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine

from estelam.storage.base import LEDGER, AccessMode, StoreError
from estelam.storage.statements import run_text

LOCK_TIMEOUT_SECONDS = 5
_URI_MODES = {AccessMode.READ: "ro", AccessMode.WRITE: "rw", AccessMode.APPEND: "rw", AccessMode.CREATE: "rwc"}


class SQLite:
    """The two files of a folder, and one connection to both."""

    def __init__(self, folder: Path, modes: Mapping[str, AccessMode]) -> None:
        self._modes = modes
        self._folder = folder
        self._files: dict[Path, int] = {}
        if AccessMode.CREATE in modes.values():
            self._folder.mkdir(parents=True, exist_ok=True)
        self.engine: Engine = create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)

    def check_before_begin(self) -> None:
        """Raise StoreError if a file was removed or replaced: SQLite would continue to write to the lost file."""
        for path, inode in self._files.items():
            try:
                same = path.stat().st_ino == inode
            except FileNotFoundError:
                same = False
            if not same:
                self._files.clear()
                self.engine.dispose()
                raise StoreError("a file of the store was removed or replaced")

    def begin(self, connection: Connection) -> None:
        """Take the write locks of the writable halves at once, and fix the snapshot of the read-only ones."""
        run_text(connection, "BEGIN IMMEDIATE")

    @contextmanager
    def append(self, connection: Connection) -> Iterator[None]:
        """Begin a transaction. It has the append lock, for which nobody else waits: only one process may serve."""
        self.begin(connection)
        yield

    def lock(self, connection: Connection) -> None:
        """Do nothing: the transaction has the lock."""

    def check_after_commit(self) -> None:
        """Do nothing: a commit that has returned is on the disk (`synchronous=FULL`)."""

    @contextmanager
    def single_writer_lock(self) -> Iterator[None]:
        """Hold the lock of the only serving process.

        Raises:
            StoreError: another process serves from this store, or there is none.
        """
        try:
            lock: IO[Any] = (self._folder / "serving.lock").open("w")
        except OSError as error:
            raise StoreError("the store can't be opened; run: estelam migrate") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError("another process serves from this store; SQLite allows one: stop it first") from error
            yield

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            "file::memory:",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=LOCK_TIMEOUT_SECONDS,
            factory=_Connection,
        )
        self._attach(connection)
        return connection

    def _attach(self, connection: sqlite3.Connection) -> None:
        for schema, mode in self._modes.items():
            path = (self._folder / f"{schema}.db").resolve()
            connection.execute("ATTACH ? AS " + schema, (f"{path.as_uri()}?mode={_URI_MODES[mode]}",))
            if mode is not AccessMode.READ:
                connection.execute(f"PRAGMA {schema}.journal_mode=WAL")
                connection.execute(f"PRAGMA {schema}.synchronous=FULL")
            if schema == LEDGER and mode is AccessMode.WRITE:
                # After a failed sync the kernel may report pages as written that are not, and a write-ahead log with a
                # gap loses everything after it. So the log is checkpointed before anything is added to it.
                connection.execute(f"PRAGMA {schema}.wal_checkpoint(TRUNCATE)")
            self._files[path] = path.stat().st_ino
        connection.execute("PRAGMA foreign_keys=ON")


class _Connection(sqlite3.Connection):
    """A connection that is closed with its last reference.

    An error after it is opened and before the pool holds it leaves it to nobody who could close it.
    """

    __del__ = sqlite3.Connection.close
