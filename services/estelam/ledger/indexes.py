"""Whether the indexes of a ledger's tables hold every row.

Searches read an index, verification reads the rows. So an index without an entry, which only an insider or a fault of
the disk can make, would shorten every list of who asked, and no signature would show it.
"""

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from estelam.ledger.errors import LedgerCorruptError
from estelam.storage.base import LEDGER

_CORRUPT = (
    "an index or a page of its store does not match the rows, so that searches may find too little; restore the store, "
    "or find the cause and build the indexes again (REINDEX)"
)
_SQLSTATES = {"XX001", "XX002"}
"""data_corrupted and index_corrupted."""
_AMCHECK = text("SELECT has_function_privilege(to_regprocedure('bt_index_check(regclass,boolean)'), 'EXECUTE')")
_CHECK_ALL = text(
    "SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam"
    " WHERE n.nspname = :schema AND a.amname = 'btree' AND c.relkind = 'i'"
)


def check_indexes(connection: Connection) -> bool:
    """Check that each index of the ledger leads to every row of its table.

    Returns whether that was checked: PostgreSQL needs the extension amcheck, and a role that may execute its function
    bt_index_check.

    Raises:
        LedgerCorruptError: one does not.
    """
    if connection.dialect.name == "sqlite":
        is_intact = connection.exec_driver_sql(f"PRAGMA {LEDGER}.integrity_check(1)").scalars().all() == ["ok"]
    elif not connection.execute(_AMCHECK).scalar():
        return False
    else:
        is_intact = _amcheck(connection)
    if not is_intact:
        raise LedgerCorruptError(_CORRUPT)
    return True


def _amcheck(connection: Connection) -> bool:
    try:
        connection.execute(_CHECK_ALL, {"schema": LEDGER}).all()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _SQLSTATES:
            return False
        raise
    return True
