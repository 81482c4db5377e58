"""The data store of one service: facts, which loads write, and the ledger, which the service writes.

Both halves have the same names on either engine: two attached files on SQLite (`storage.sqlite`), two schemas of one
database on PostgreSQL (`storage.postgresql`). A transaction sees one snapshot of both. At most one transaction at a
time writes to each half, so that the ledger does not fork and a load does not block inquiries.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection, func, make_url, select, table

from estelam.core.addresses import SQLITE, check_store_url
from estelam.storage.base import FACTS, LEDGER, AccessMode, Backend, LostCommitsError, StoreError
from estelam.storage.sqlite import SQLite

__all__ = ["AccessMode", "Store", "StoreError", "is_single_process"]


class Store:
    """A store that gives one transaction at a time to one thread.

    Args:
        url: sqlite:///FOLDER or postgresql+psycopg://USER@HOST/DATABASE.
        facts: How the facts are opened.
        ledger: How the ledger is opened.
        on_changed_files: Called with the cause, when the store's files are found to be changed by something else than
            the processes that use it; and with None, when they are put back as they were.

    Raises:
        StoreError: *url* names no store of a known kind.
    """

    def __init__(
        self,
        url: str,
        *,
        facts: AccessMode = AccessMode.READ,
        ledger: AccessMode = AccessMode.READ,
        on_changed_files: Callable[[str | None], None] = lambda _change: None,
    ) -> None:
        self._backend = _open(url, {FACTS: facts, LEDGER: ledger}, on_changed_files)
        self.engine = self._backend.engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run one transaction: committed and durable on a clean exit, rolled back on any exception.

        It is the only one to write to the halves that were opened for writing, from its beginning on.

        Raises:
            StoreError: the store must not be used, or the commit is not known to be durable.
        """
        with self._connected() as connection:
            self._backend.begin(connection)
            yield connection

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """Run one transaction as `transaction` does, which may write to the ledger only after `lock`.

        On PostgreSQL each statement has a snapshot of its own, and several share a round trip. Only statements of
        `storage.statements` may be run.

        Raises:
            StoreError: the store must not be used, or the commit is not known to be durable.
        """
        with self._connected() as connection, self._backend.append(connection):
            yield connection

    @property
    def locks_at_begin(self) -> bool:
        """Whether a transaction of `append` has the append lock, and one snapshot, from its beginning on."""
        return self._backend.locks_at_begin

    def lock(self, connection: Connection) -> None:
        """Take the append lock: no other transaction writes to the ledger until this one ends."""
        self._backend.lock(connection)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        self._backend.check_before_begin()
        try:
            with self.engine.begin() as connection:
                yield connection
            self._backend.check_after_commit()
        except LostCommitsError as error:
            self._backend.abandon(str(error))
            raise
        except Exception:
            # A connection that failed once is not reused: the next transaction opens a new one.
            self._backend.disconnect()
            raise

    def single_writer_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the only serving process, if the engine allows only one.

        Raises:
            StoreError: another process holds it.
        """
        return self._backend.single_writer_lock()

    def ping(self) -> None:
        """Raise an exception unless both halves can be read."""
        with self.transaction() as connection:
            for schema in (FACTS, LEDGER):
                connection.execute(select(func.count()).select_from(table("alembic_version", schema=schema)))

    def close(self) -> None:
        """Close the files or the connection.

        Raises:
            StoreError: files were changed by something else, so that they can't be closed before the process ends.
        """
        self._backend.close()

    def check_closable(self) -> None:
        """Check that `close` would succeed.

        Raises:
            StoreError: it would not: this process must end before the store is opened again.
        """
        self._backend.check_closable()


def _open(url: str, modes: Mapping[str, AccessMode], on_changed_files: Callable[[str | None], None]) -> Backend:
    try:
        check_store_url(url)
    except ValueError as error:
        raise StoreError(f"the address of the store {error}") from None
    if url.startswith(SQLITE):
        # Not by make_url: it reads `?` and what follows as options, and two stores would share a folder.
        return SQLite(Path(url.removeprefix(SQLITE)), modes, on_changed_files)
    from estelam.storage.postgresql import PostgreSQL  # noqa: PLC0415 - its driver takes a sixth of a start

    return PostgreSQL(make_url(url), modes)


def is_single_process(url: str) -> bool:
    """Return whether the store at *url* allows only one serving process."""
    return url.startswith(SQLITE)
