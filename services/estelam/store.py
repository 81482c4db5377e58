"""One service's datastore: facts, which loaders write, and the ledger, which the service writes.

On SQLite these are two files in one folder, attached under the names that are two schemas on PostgreSQL. So a load
never holds up an inquiry, each file has one writing process, and a reader cannot write: its file is opened read-only.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, func, make_url, select, table

SCHEMAS = ("facts", "ledger")
BUSY_SECONDS = 2


class Mode(StrEnum):
    """How a process opens one of the two halves."""

    READ = "ro"
    WRITE = "rw"
    CREATE = "rwc"


class StoreError(Exception):
    """The store can't be used as asked; the text is for the operator."""


class Store:
    """An engine that hands out one transaction at a time to one thread."""

    def __init__(self, url: str, *, facts: Mode = Mode.READ, ledger: Mode = Mode.READ) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            raise StoreError("the store must be a sqlite:///FOLDER address")
        self._modes = {"facts": facts, "ledger": ledger}
        self.folder = Path(parsed.database or ".")
        self._files: dict[Path, int] = {}
        if Mode.CREATE in self._modes.values():
            self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = self._sqlite()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed and durable on a clean exit, rolled back on any exception."""
        self._check_files()
        try:
            with self.engine.begin() as connection:
                yield connection
        except Exception:
            # A connection that has failed once is not trusted again: the next transaction opens a new one.
            self.engine.dispose()
            raise

    def ping(self) -> None:
        """Raise unless both halves can be read."""
        with self.transaction() as connection:
            for schema in SCHEMAS:
                connection.execute(select(func.count()).select_from(table("alembic_version", schema=schema)))

    def close(self) -> None:
        """Let go of the files."""
        self.engine.dispose()

    def _sqlite(self) -> Engine:
        engine = create_engine("sqlite://", creator=self._connect, poolclass=StaticPool)
        event.listen(engine, "begin", _begin_immediate)
        return engine

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            "file::memory:", uri=True, isolation_level=None, check_same_thread=False, timeout=5
        )
        for schema in SCHEMAS:
            path = (self.folder / f"{schema}.db").resolve()
            address = f"{path.as_uri()}?mode={self._modes[schema]}"
            connection.execute("ATTACH ? AS " + schema, (address,))
            if self._modes[schema] is not Mode.READ:
                connection.execute(f"PRAGMA {schema}.journal_mode=WAL")
                connection.execute(f"PRAGMA {schema}.synchronous=FULL")
            self._files[path] = path.stat().st_ino
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def _check_files(self) -> None:
        # SQLite goes on writing to a file that was unlinked or replaced under it; what it writes there is lost.
        for path, inode in self._files.items():
            try:
                same = path.stat().st_ino == inode
            except FileNotFoundError:
                same = False
            if not same:
                self._files.clear()
                self.engine.dispose()
                raise StoreError("a file of the store was removed or replaced")


def _begin_immediate(connection: Connection) -> None:
    # Takes the write lock of the writable halves at once, and fixes the snapshot of the read-only ones.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def migrate(url: str, scripts: str) -> None:
    """Bring both halves of the store at *url* to the newest schema; *scripts* is the service's own "package:folder"."""
    store = Store(url, facts=Mode.CREATE, ledger=Mode.CREATE)
    try:
        for schema, location in _chains(scripts).items():
            with store.transaction() as connection:
                command.upgrade(_alembic(location, schema, connection), "head")
    finally:
        store.close()


def check_schema(store: Store, scripts: str) -> None:
    """Raise StoreError unless both halves stand at the newest schema."""
    try:
        with store.transaction() as connection:
            for schema, location in _chains(scripts).items():
                context = MigrationContext.configure(connection, opts={"version_table_schema": schema})
                head = ScriptDirectory.from_config(_alembic(location, schema, connection)).get_current_head()
                if context.get_current_revision() != head:
                    raise StoreError("the store's schema is not current; run: estelam migrate")
    except StoreError:
        raise
    except Exception as error:
        raise StoreError("the store can't be opened; run: estelam migrate") from error


def _chains(scripts: str) -> dict[str, str]:
    return {"ledger": "estelam:migrations", "facts": scripts}


def _alembic(location: str, schema: str, connection: Connection) -> Config:
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", location)
    return config


@contextmanager
def sole_owner(store: Store) -> Iterator[None]:
    """Hold the store as its one serving process.

    Raises:
        StoreError: another process serves from this store.
    """
    lock: IO[Any]
    with (store.folder / "serving.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError("another process serves from this store; SQLite allows one") from error
        yield
