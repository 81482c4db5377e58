"""Which errors of a store mean that another writer holds a lock."""

import sqlite3

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy.exc import DBAPIError


def is_lock_conflict(error: Exception) -> bool:
    """Return whether *error* says that another writer held a lock for too long."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        # An extended code has the primary one in its low byte; errors of the driver itself have none.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return isinstance(cause, LockNotAvailable | DeadlockDetected)
