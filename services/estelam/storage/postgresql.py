"""Store on PostgreSQL: two schemas of one database, accessed on its primary only, by any number of processes.

One round trip begins a transaction and sets everything that it needs. Its snapshot is taken after the write lock, so it
sees every earlier commit. Settings are local to the transaction, so that a connection pooler may stand in between.

A transaction that appends to the ledger runs in the driver's pipeline mode: statements are sent when the first of their
results is read, so that it takes three round trips. It does not hold the lock during the first of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event

from estelam.storage.base import FACTS, LEDGER, AccessMode, StoreError
from estelam.storage.statements import PackedArray, driver_error, run_text

# Longest time that a hanging worker may hold the write lock. A commit that waits for its standby has no limit: no reply
# is sent meanwhile, and health reports NOT_SERVING.
LOCK_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 10
# Longest time that a migration waits for one lock; behind it wait all batches.
MIGRATION_LOCK_TIMEOUT_SECONDS = 2
_MIGRATION_LOCK = 6_002_097_125  # any number that no other lock uses
# One writer at a time. The version table is locked on behalf of all tables: only migrations write to it, and they take
# the same lock first, so it neither blocks a vacuum nor waits for one.
_LOCK = "LOCK TABLE {schema}.alembic_version IN EXCLUSIVE MODE"
_CONNECTION_PARAMETERS = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class PostgreSQL:
    """One connection to the primary, opened again after any error."""

    locks_at_begin = False

    def __init__(self, address: URL, modes: Mapping[str, AccessMode]) -> None:
        self._creates = AccessMode.CREATE in modes.values()
        self._begin = _begin_statement(modes)
        self._begin_append = _append_statements()
        self._warnings: list[str] = []
        self.engine: Engine = create_engine(
            address,
            poolclass=StaticPool,
            # `begin` and `append` begin the transaction, not the driver.
            isolation_level="AUTOCOMMIT",
            connect_args={name: value for name, value in _CONNECTION_PARAMETERS.items() if name not in address.query},
        )
        event.listen(self.engine, "do_connect", _connect)
        event.listen(self.engine, "connect", self._on_connect)

    def close(self) -> None:
        """Close the connection."""
        self.engine.dispose()

    def check_closable(self) -> None:
        """Do nothing: no file is open."""

    def disconnect(self) -> None:
        """Close the connection after a failure."""
        self.engine.dispose()

    def abandon(self, problem: str) -> None:  # noqa: ARG002 - the server has one state for all connections
        """Close the connection: it writes nothing."""
        self.engine.dispose()

    def check_before_begin(self) -> None:
        """Do nothing: a lost connection makes the transaction itself fail."""

    def begin(self, connection: Connection) -> None:
        """Begin a transaction, with the locks of the halves that are written to."""
        self._warnings.clear()
        # Without parameters the driver sends the statements unchanged, in one round trip.
        run_text(connection, self._begin)

    @contextmanager
    def append(self, connection: Connection) -> Iterator[None]:
        """Begin a transaction in pipeline mode, which takes the append lock later, and commit it."""
        self._warnings.clear()
        driver: Any = connection.connection.driver_connection
        try:
            with driver.pipeline():
                for statement in self._begin_append:
                    run_text(connection, statement)
                yield
                committed = driver.execute("COMMIT")
        except psycopg.Error as error:
            raise driver_error(connection, error) from error
        if committed.statusmessage != "COMMIT":
            raise StoreError("a commit failed")

    def lock(self, connection: Connection) -> None:
        """Queue the append lock."""
        run_text(connection, _LOCK.format(schema=LEDGER))

    def check_after_commit(self) -> None:
        """Raise StoreError if the commit came with a warning: it did not wait for the standby to confirm."""
        if self._warnings:
            raise StoreError("a commit is not known to have reached the standby")

    @contextmanager
    def single_writer_lock(self) -> Iterator[None]:
        """Do nothing: any number of processes may serve from one database."""
        yield

    def _on_connect(self, connection: psycopg.Connection[Any], _record: object) -> None:
        connection.adapters.register_dumper(PackedArray, _PackedArrayDumper)
        connection.add_notice_handler(self._on_notice)
        row = connection.execute("SELECT current_setting('fsync'), current_setting('server_encoding')").fetchone()
        if row != ("on", "UTF8"):
            raise StoreError("the PostgreSQL server must run with fsync on and the encoding UTF8")

    def _on_notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.sqlstate or "")


class _PackedArrayDumper(Dumper):
    """Sends an array as it is; its type is that to which the statement casts the parameter."""

    format = Format.BINARY

    def dump(self, obj: PackedArray) -> PackedArray:
        return obj


def _connect(_dialect: Any, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Connect; a failure names server, user and database as libpq does, never the password."""
    try:
        return psycopg.connect(*arguments, **options)
    except psycopg.Error as error:
        cause = next(iter(str(error).splitlines()), "no cause is given")
        advice = "check `store` in the settings, and that the server runs"
        raise StoreError(f"the database of the store can't be reached: {cause}; {advice}") from None


def _begin_statement(modes: Mapping[str, AccessMode]) -> str:
    if AccessMode.CREATE in modes.values():
        return "; ".join(
            [
                "BEGIN",
                "SET LOCAL synchronous_commit = on",
                f"SET LOCAL lock_timeout = '{MIGRATION_LOCK_TIMEOUT_SECONDS}s'",
                f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})",
                *map(_create_or_lock, (LEDGER, FACTS)),
            ]
        )
    written = [schema for schema, mode in modes.items() if mode is AccessMode.WRITE]
    if not written and AccessMode.APPEND not in modes.values():
        return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    statements = [
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        # At least the server's own disk and, where one is configured, its standby's.
        "SET LOCAL synchronous_commit = on",
        f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'",
    ]
    if LEDGER in written:
        statements += [
            f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'",
            f"SET LOCAL idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT_SECONDS}s'",
        ]
    statements += [_LOCK.format(schema=schema) for schema in written]
    return "; ".join(statements)


def _append_statements() -> list[str]:
    """Return what begins a transaction that appends: the settings of `_begin_statement`, and snapshots by statement."""
    settings = {
        "synchronous_commit": "on",
        "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
        "statement_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{STATEMENT_TIMEOUT_SECONDS}s",
    }
    local = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    return ["BEGIN ISOLATION LEVEL READ COMMITTED", f"SELECT {local}"]


def _create_or_lock(schema: str) -> str:
    """Return the statement that creates *schema*, or locks its writers out."""
    version = f"{schema}.alembic_version"
    return (
        f"CREATE SCHEMA IF NOT EXISTS {schema}; "
        f"DO $$ BEGIN IF to_regclass('{version}') IS NOT NULL THEN {_LOCK.format(schema=schema)}; END IF; END $$"
    )
