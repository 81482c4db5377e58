"""Changes of answers, listed for their callers: each list is one read of an index.

After each load the service compares answers with the facts (`estelam.ledger.comparisons`). Until that is completed with
the newest load, nothing is known about it, and nothing may be listed.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, insert, select

from estelam.inquiry.v1 import answer_change_pb2 as pb
from estelam.ledger.tables import answer_change_table, answer_comparison_table, change_notice_table
from estelam.storage.facts import load_table
from estelam.storage.statements import Statement

PAGE = 50
"""Most changes in one list: twice their bytes, in the reply and in its receipt, are within gRPC's limit."""
_CURSOR = re.compile("([0-9a-f]{1,15})-[0-9a-f]{16}")
_change, _comparison, _load = answer_change_table.c, answer_comparison_table.c, load_table.c
_notice = change_notice_table.c
LAST_COMPARISON = select(answer_comparison_table).order_by(_comparison.through_index.desc()).limit(1)
NEWEST_LOAD = select(_load.number, _load.sha256).order_by(_load.number.desc()).limit(1)
_last, _newest = LAST_COMPARISON.subquery(), NEWEST_LOAD.subquery()
_CURRENT = Statement(
    select(_last.c.first_index, _last.c.through_index).join_from(
        _last, _newest, (_last.c.load_number == _newest.c.number) & (_last.c.sha256 == _newest.c.sha256)
    )
)
# From the cursor's own row on, which proves the cursor; and one row more, which says whether any follow.
_FROM = Statement(
    select(answer_change_table)
    .where(_change.caller == bindparam("caller"), _change.number >= bindparam("first"))
    .order_by(_change.number)
    .limit(PAGE + 2)
)


class UnknownCursorError(Exception):
    """The ledger has no change with this cursor for this caller."""


class Compared(NamedTuple):
    """The entries that are known to have been compared with the newest load."""

    first_index: int
    through_index: int


class Page(NamedTuple):
    """A part of a caller's changes."""

    changes: Sequence[pb.ChangedAnswer]
    cursor: str
    """That of the last change, from which the next page continues."""
    is_last: bool


def start_compared(connection: Connection) -> Callable[[], Compared | None]:
    """Read or queue what was compared with the newest load; None: the comparison is not completed."""
    read = _CURRENT.start(connection)
    return lambda: next((Compared(*row) for row in read()), None)


def start_page(connection: Connection, caller: str, cursor: str) -> Callable[[], Page]:
    """Read or queue the changes of the answers to *caller* after *cursor*; an empty one is before all.

    The function returned raises UnknownCursorError.
    """
    found = _CURSOR.fullmatch(cursor)
    read = _FROM.start(connection, caller=caller, first=int(found[1], 16) if found else 0)

    def page() -> Page:
        rows = read()
        if cursor and (not rows or _cursor_of(rows[0]) != cursor):
            raise UnknownCursorError
        later = rows[1:] if cursor else rows
        shown = later[:PAGE]
        end = _cursor_of(shown[-1]) if shown else cursor
        return Page([_message(row) for row in shown], end, len(later) == len(shown))

    return page


class Notice(NamedTuple):
    """What a caller is to be notified of."""

    number: int
    """The number of the caller's newest change."""
    cursor: str
    """The cursor of that change, which no other change has."""
    through_index: int
    """The last entry of the comparison after which the notification is sent."""


def due_notice(connection: Connection, caller: str) -> Notice | None:
    """Return what *caller* is to be notified of: None without new changes, or while a comparison is not completed."""
    noticed = select(func.coalesce(func.max(_notice.number), 0)).where(_notice.caller == caller)
    later = select(answer_change_table).where(_change.caller == caller, _change.number > noticed.scalar_subquery())
    newest = connection.execute(later.order_by(_change.number.desc()).limit(1)).first()
    compared = start_compared(connection)()
    return Notice(newest.number, _cursor_of(newest), compared.through_index) if newest and compared else None


def store_notice(connection: Connection, caller: str, notice: Notice) -> None:
    """Store that *caller* took *notice*; of several workers, the first does."""
    known = select(_notice.number).where(_notice.caller == caller, _notice.number == notice.number)
    if connection.execute(known).first() is None:
        connection.execute(insert(change_notice_table).values((caller, notice.number)))


def _cursor_of(row: Any) -> str:
    """Return the cursor of a change: its number, and what recognizes it, so that no other ledger's is taken for it."""
    content = f"{row.caller}/{row.number}/{bytes(row.inquiry_id).hex()}/{row.now_state}/{row.load_number}"
    return f"{row.number:x}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def _message(row: Any) -> pb.ChangedAnswer:
    changed = pb.ChangedAnswer(
        inquiry_id=str(UUID(bytes=bytes(row.inquiry_id))),
        then=row.then_state,
        now=row.now_state,
        cause=row.cause,
        load=row.load_number,
    )
    changed.as_of.FromMicroseconds(row.as_of_micros)
    return changed
