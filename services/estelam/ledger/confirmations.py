"""Confirmations: the questions to which a caller lately got YES, as GetNoteParties requires (R2.2).

The table has one row for each YES of the last hours, written with the entry. GetNoteParties looks for one such row:
what that costs depends neither on the length of the ledger nor on how often the caller has asked. A row is deleted when
its entry is annulled and, a few in each commit, when it has expired. A caller's older YES counts while a newer one is
from a clock that was ahead.
"""

import hashlib
from collections.abc import Callable, Collection
from datetime import timedelta
from itertools import takewhile

from sqlalchemy import Connection, bindparam, delete, exists, select

from estelam.core.settings import MAX_CONFIRMATION_WINDOW
from estelam.ledger.tables import confirmation_table
from estelam.storage.statements import Statement, each

Asked = tuple[str, bytes]
"""A caller, and the keyed hash of a whole question."""

KEPT = MAX_CONFIRMATION_WINDOW + timedelta(hours=1)
"""How long a confirmation is stored: clocks of several hosts may differ."""
KEPT_MICROS = KEPT // timedelta(microseconds=1)
_KEY_DIGITS = 32

_columns = confirmation_table.c
_keys = each("keys")
_RECENT = Statement(
    select(_keys.c.value).where(
        exists(_columns.key).where(
            _columns.key == _keys.c.value,
            _columns.confirmed_at_micros.between(bindparam("since"), bindparam("until")),
        )
    )
)
_OLDEST = Statement(
    select(_columns["index"], _columns.confirmed_at_micros)
    .where(_columns["index"] >= bindparam("first"))
    .order_by(_columns["index"])
    .limit(bindparam("count"))
)
_DELETE = Statement(delete(confirmation_table).where(_columns["index"].between(bindparam("first"), bindparam("last"))))


def key_of(caller: str, question: bytes) -> str:
    """Return the key of *caller* and *question*, a keyed hash of method and request: 128 bits, hexadecimal."""
    return hashlib.sha256(f"{caller}\0".encode() + question).hexdigest()[:_KEY_DIGITS]


def recent(connection: Connection, asked: Collection[Asked], *, since_micros: int, until_micros: int) -> set[Asked]:
    """Return those of *asked* that were answered YES within the window, whose bounds are inclusive."""
    keys = {key_of(*pair): pair for pair in asked}
    found = _RECENT.rows(connection, keys=list(keys), since=since_micros, until=until_micros) if keys else ()
    return {keys[row.value] for row in found}


def start_deletion(connection: Connection, first: int, last: int) -> None:
    """Delete the confirmations of the entries from *first* to *last*."""
    _DELETE.start(connection, first=first, last=last)


class Expiry:
    """Finds expired confirmations, a few at a time, oldest first."""

    def __init__(self) -> None:
        # Bounds from the last search, which hold whether or not what it found was deleted.
        self._first = 0
        self._next_micros = 0

    def start(self, connection: Connection, micros: int, count: int) -> Callable[[], tuple[int, int] | None]:
        """Search the *count* oldest confirmations for those that have expired at *micros*, if there may be any.

        The function that is returned gives the first and the last of their indexes.
        """
        limit = micros - KEPT_MICROS
        if limit < self._next_micros:
            return lambda: None
        read = _OLDEST.start(connection, first=self._first, count=count)

        def expired() -> tuple[int, int] | None:
            oldest = read()
            self._first = oldest[0].index if oldest else self._first
            found = [row.index for row in takewhile(lambda row: row.confirmed_at_micros < limit, oldest)]
            if not found:
                self._next_micros = oldest[0].confirmed_at_micros if oldest else micros
                return None
            return found[0], found[-1]

        return expired
