"""The digest of the stored rows of a feed, as a file that held exactly these rows would have (`rows_digest`)."""

from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, select

from estelam.loading.feed import Feed
from estelam.loading.rows_digest import RowsDigest
from estelam.storage.facts import load_table

ROWS_AT_ONCE = 10_000


def digest_stored(connection: Connection, kind: Feed, name: str) -> tuple[int, str]:
    """Return the number and the digest of the rows in the table of *kind* that the feed *name* has delivered.

    Raises:
        ValueError, TypeError: a value is of another type than its column.
    """
    table, digest, count = kind.table, RowsDigest(), 0
    loads = select(load_table.c.number).where(load_table.c.feed == name)
    query = select(*(table.c[column] for column in kind.columns)).where(table.c.load_number.in_(loads))
    with connection.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}) as rows:
        for part in rows.partitions():
            count += len(part)
            digest.add(pa.array(map(_cell, column), pa.string()) for column in zip(*part, strict=True))
    return count, digest.hexdigest()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)
