"""Partitions of the entries on PostgreSQL, each of consecutive entries with plain indexes of its own.

The database itself creates them, by the function ledger.add_partitions of the migration: the serving role may not
create tables. The partitions of the newest entry and the next one exist at any time.
"""

from sqlalchemy import Connection

from estelam.storage.statements import run_text

ENTRIES = 1 << 20
"""Entries in each partition. Index keys are random: so large an index stays in memory while it is written."""


def extend(connection: Connection, old: int, new: int) -> None:
    """Create the next partition, if growing from *old* to *new* entries has begun another one.

    Call it in the transaction that appends them, after the checkpoint.
    """
    if connection.dialect.name == "postgresql" and old // ENTRIES != new // ENTRIES:
        run_text(connection, "SELECT ledger.add_partitions()")
