"""The two halves of a store, how a process opens each, and what an engine provides."""

from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

from sqlalchemy import Connection, Engine

from estelam.core.exceptions import UserFacingError

FACTS, LEDGER = "facts", "ledger"


class AccessMode(StrEnum):
    """How a process opens one half of a store."""

    READ = "read"
    WRITE = "write"
    """As the only writer at a time."""
    APPEND = "append"
    """To add single rows to a table that no other writer touches; does not wait for one where the engine permits it."""
    CREATE = "create"


class StoreError(UserFacingError):
    """The store can't be used as requested."""


class LostCommitsError(StoreError):
    """The store lacks what this process has committed to it."""


class Backend(Protocol):
    """What differs between the engines."""

    engine: Engine
    locks_at_begin: bool
    """Whether a transaction that appends has the append lock from its beginning on."""

    def close(self) -> None:
        """Close the files or the connection.

        Raises:
            StoreError: files were changed by something else, so that they can't be closed before the process ends.
        """

    def check_closable(self) -> None:
        """Raise StoreError if `close` would."""

    def disconnect(self) -> None:
        """Close the connection after a failure; the next transaction opens a new one."""

    def abandon(self, problem: str) -> None:
        """Use the store no more: it may still hold what can't be read of it, and closing it might write to it."""

    def check_before_begin(self) -> None:
        """Raise StoreError if a transaction must not begin."""

    def begin(self, connection: Connection) -> None:
        """Begin a transaction, with the locks of the halves that are written to."""

    def append(self, connection: Connection) -> AbstractContextManager[None]:
        """Begin a transaction that takes the append lock later; on PostgreSQL, commit it."""

    def lock(self, connection: Connection) -> None:
        """Take or queue the append lock."""

    def check_after_commit(self) -> None:
        """Raise StoreError if the commit that has just returned is not known to be durable and in the store."""

    def single_writer_lock(self) -> AbstractContextManager[None]:
        """Hold the lock of the only serving process, if the engine allows only one."""
