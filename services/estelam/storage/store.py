"""One service's datastore: facts, which loaders write, and the ledger, which the service writes.

Both have the same names on either engine: two attached files on SQLite (`storage.sqlite`), two schemas of one database on
PostgreSQL (`storage.postgresql`). A transaction sees one snapshot of both. Only one transaction at a time writes to each, so
that the ledger has no forks and a load never blocks an inquiry.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, make_url, select, table
from sqlalchemy.exc import ArgumentError

from estelam.storage.base import FACTS, LEDGER, AccessMode, StoreError
from estelam.storage.postgresql import PostgreSQL
from estelam.storage.sqlite import SQLite

__all__ = ["AccessMode", "Store", "StoreError", "check_schema", "is_single_process", "migrate"]


class Backend(Protocol):
    """What the two engines do each in its own way."""

    engine: Engine

    def check_before_begin(self) -> None:
        """Raise StoreError where a transaction must not begin."""

    def check_after_commit(self) -> None:
        """Raise StoreError where the commit that has just returned is not known to be durable."""

    def single_writer_lock(self) -> AbstractContextManager[None]:
        """Hold what only one serving process may hold, if there is such a thing."""


class Store:
    """An engine that hands out one transaction at a time to one thread.

    Raises:
        StoreError: *url* names no store of a known kind.
    """

    def __init__(self, url: str, *, facts: AccessMode = AccessMode.READ, ledger: AccessMode = AccessMode.READ) -> None:
        self._backend = _open(url, {FACTS: facts, LEDGER: ledger})
        self.engine = self._backend.engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed and durable on a clean exit, rolled back on any exception."""
        self._backend.check_before_begin()
        try:
            with self.engine.begin() as connection:
                yield connection
            self._backend.check_after_commit()
        except Exception:
            # A connection that has failed once is not trusted again: the next transaction opens a new one.
            self.engine.dispose()
            raise

    def single_writer_lock(self) -> AbstractContextManager[None]:
        """Hold the store as its one serving process, where its engine allows only one.

        Raises:
            StoreError: another process serves from this store.
        """
        return self._backend.single_writer_lock()

    def ping(self) -> None:
        """Raise unless both halves can be read."""
        with self.transaction() as connection:
            for schema in (FACTS, LEDGER):
                connection.execute(select(func.count()).select_from(table("alembic_version", schema=schema)))

    def close(self) -> None:
        """Let go of the files or the connection."""
        self.engine.dispose()


def _open(url: str, modes: Mapping[str, AccessMode]) -> Backend:
    try:
        address = make_url(url)
    except ArgumentError:
        address = make_url("unknown://")
    if address.drivername == "sqlite":
        return SQLite(address, modes)
    if address.drivername == "postgresql+psycopg":
        return PostgreSQL(address, modes)
    raise StoreError("the store must be a sqlite:///FOLDER or postgresql+psycopg://… address")


def is_single_process(url: str) -> bool:
    """Whether the store at *url* allows but one serving process."""
    return url.startswith("sqlite:")


def migrate(url: str, scripts: str) -> None:
    """Bring both halves of the store at *url* to the newest schema; *scripts* is the service's own "package:folder"."""
    store = Store(url, facts=AccessMode.CREATE, ledger=AccessMode.CREATE)
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
    return {LEDGER: "estelam.storage:migrations", FACTS: scripts}


def _alembic(location: str, schema: str, connection: Connection) -> Config:
    config = Config(attributes={"connection": connection, "schema": schema})
    config.set_main_option("script_location", location)
    return config
