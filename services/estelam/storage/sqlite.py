"""Store on SQLite: two files in one folder, attached under the names of the schemas.

With two files a load does not block inquiries, each file has one writing process, and a reader can't write: it opens
its file read-only.
"""

import ctypes
import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, StaticPool, create_engine

from estelam.core.files import create_private_file, create_private_folder, make_private
from estelam.storage.base import FACTS, LEDGER, AccessMode, StoreError
from estelam.storage.statements import run_text
from estelam.storage.watched_files import WatchedHalf, Writers, announced_writer

LOCK_TIMEOUT_SECONDS = 5
_URI_MODES = {AccessMode.READ: "ro", AccessMode.WRITE: "rw", AccessMode.APPEND: "rw", AccessMode.CREATE: "rwc"}


class SQLite:
    """The two files of a folder, and one connection to both.

    While something else than the processes that use the store has changed its files, no transaction begins: what is
    stored can't be known. That ends where they are put back as they were; else the store must be opened again.
    """

    locks_at_begin = True

    def __init__(
        self,
        folder: Path,
        modes: Mapping[str, AccessMode],
        on_changed_files: Callable[[str | None], None] = lambda _change: None,
    ) -> None:
        self._modes = modes
        self._folder = folder
        self._on_changed_files = on_changed_files
        self._halves = {
            schema: WatchedHalf(self._path(schema), _writers(schema, mode)) for schema, mode in modes.items()
        }
        self._change: str | None = None
        self._lost: str | None = None
        self._connection: sqlite3.Connection | None = None
        self._has_failed = False
        self._is_abandoned = False
        self._announcing = ExitStack()
        if AccessMode.CREATE in modes.values():
            create_private_folder(self._folder)
        self.engine: Engine = create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)

    def close(self) -> None:
        """Close the files. Those that this process has written and something else has changed stay as they are.

        To close them would write the log to the database, whatever both hold now. Only a log that was just removed is
        complete: SQLite has it open, and nothing is lost.

        Raises:
            StoreError: files stay open, so that this process must end before the store is opened again.
        """
        self._announcing.close()
        if self._is_abandoned:
            return
        try:
            self.check_closable()
        except StoreError:
            self._is_abandoned = True
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))  # open until the process ends
            raise
        self._disconnect()

    def check_closable(self) -> None:
        """Raise StoreError if `close` would."""
        if self._change is None:  # nobody has looked since the last transaction
            self._look(half.other_file() for half in self._halves.values())
        is_writer = set(self._modes.values()) != {AccessMode.READ}
        keeps_content = self._lost is None and all(half.keeps_content for half in self._halves.values())
        can_be_closed = not any(half.is_memory_cut_off() for half in self._halves.values())
        if not can_be_closed or not (self._change is None or not is_writer or keeps_content):
            raise StoreError(f"{self._change} while the store was in use; the files are left as they are: find out why")

    def disconnect(self) -> None:
        """Close the connection after a failure; where files were changed by something else, once they are put back."""
        self._has_failed = True
        self._look(half.other_file() for half in self._halves.values())
        if self._change is None:
            self._disconnect()

    def abandon(self, problem: str) -> None:
        """Use the store no more: shared memory that was written over hides commits, which are still in the log."""
        self._lost = problem
        self._look(())

    def _disconnect(self) -> None:
        self.engine.dispose()
        for half in self._halves.values():
            half.release()
        self._has_failed = False

    def check_before_begin(self) -> None:
        """Raise StoreError while files of the store are changed by something else than the processes that use it."""
        self._require_no_change(half.change() for half in self._halves.values())
        if self._has_failed:
            self._disconnect()

    def check_after_commit(self) -> None:
        """Raise StoreError if a file was changed meanwhile; else the commit is on the disk (`synchronous=FULL`)."""
        self._require_no_change(half.change_by_commit() for half in self._halves.values())

    def _require_no_change(self, changes: Iterable[str | None]) -> None:
        self._look(changes)
        if self._change is not None:
            raise StoreError(
                f"{self._change} while the store was in use; put it back as it was, or find out why and restart"
            )

    def _look(self, changes: Iterable[str | None]) -> None:
        change = self._lost or next(filter(None, changes), None)
        if change != self._change:
            self._change = change
            self._on_changed_files(change)

    def _path(self, schema: str) -> Path:
        return self._folder / f"{schema}.db"

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

    @contextmanager
    def single_writer_lock(self) -> Iterator[None]:
        """Hold the lock of the only serving process: on the ledger's file itself, which nobody can remove unnoticed.

        It is independent of SQLite's own locks, but closing the file would release those: so the connection is closed
        before.

        Raises:
            StoreError: another process serves from this store, or there is none.
        """
        path = self._path(LEDGER)
        try:
            if AccessMode.CREATE in self._modes.values():
                create_private_file(path)
            lock = path.open("rb")
        except OSError as error:
            raise StoreError("the store can't be opened; run: estelam migrate") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError("another process serves from this store; SQLite allows one: stop it first") from error
            if self._modes[LEDGER] is AccessMode.WRITE:
                self._halves[LEDGER].writers = Writers.SELF
            try:
                yield
            finally:
                self.close()

    def _connect(self) -> sqlite3.Connection:
        for schema, mode in self._modes.items():
            if mode is not AccessMode.READ:
                _make_private(self._path(schema).resolve())
        if self._modes[FACTS] is not AccessMode.READ:
            self._announcing.close()
            self._announcing.enter_context(announced_writer(self._path(FACTS)))
        connection = sqlite3.connect(
            "file::memory:",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=LOCK_TIMEOUT_SECONDS,
            factory=_Connection,
        )
        self._attach(connection)
        for half in self._halves.values():
            half.adopt()
        self._connection = connection
        return connection

    def _attach(self, connection: sqlite3.Connection) -> None:
        for schema, mode in self._modes.items():
            path = self._path(schema).resolve()
            if mode is AccessMode.CREATE:
                create_private_file(path)
            connection.execute("ATTACH ? AS " + schema, (f"{path.as_uri()}?mode={_URI_MODES[mode]}",))
            if mode is not AccessMode.READ:
                connection.execute(f"PRAGMA {schema}.journal_mode=WAL")
                connection.execute(f"PRAGMA {schema}.synchronous=FULL")
            if schema == LEDGER and mode is AccessMode.WRITE:
                # After a failed sync the kernel may report pages as written that are not, and a write-ahead log with a
                # gap loses everything after it. So the log is checkpointed before anything is added to it.
                connection.execute(f"PRAGMA {schema}.wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA foreign_keys=ON")


def _make_private(database: Path) -> None:
    """Take from others what a copy or a backup has let them read; SQLite gives a new log the same permissions."""
    for path in (database, *(database.with_name(f"{database.name}{ending}") for ending in ("-wal", "-shm"))):
        with suppress(PermissionError):  # a file of another user, which this one may only write to
            make_private(path)


def _writers(schema: str, mode: AccessMode) -> Writers:
    return Writers.ANNOUNCED if (schema, mode) == (FACTS, AccessMode.READ) else Writers.ANY


class _Connection(sqlite3.Connection):
    """A connection that is closed with its last reference.

    An error after it is opened and before the pool holds it leaves it to nobody who could close it.
    """

    __del__ = sqlite3.Connection.close
