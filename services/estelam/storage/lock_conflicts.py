"""Which errors of a store mean that another writer holds a lock."""

import sqlite3

from sqlalchemy.exc import DBAPIError

_POSTGRESQL = ("55P03", "40P01")
"""SQLSTATE of lock_not_available and deadlock_detected."""


def is_lock_conflict(error: Exception) -> bool:
    """Return whether *error* says that another writer held a lock for too long."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        # An extended code has the primary one in its low byte; errors of the driver itself have none.
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return getattr(cause, "sqlstate", None) in _POSTGRESQL
