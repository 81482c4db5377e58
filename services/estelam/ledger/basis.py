"""The basis of answers: which state of the store they are from, read with every batch in one row.

Look-ups run before the append lock is taken, each statement in a snapshot of its own. Facts change by loads only, each
in one transaction. So if the basis is the same before the look-ups and under the lock, all of them saw the facts with
exactly the loads that the ledger has noted, or notes with these answers; and no confirmation was annulled meanwhile.
Else the look-ups are repeated.
"""

from collections.abc import Callable, Collection
from datetime import date
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, literal, select, true

from estelam.core.clock import to_datetime
from estelam.ledger.tables import NoteKind, annulment_table, fact_note_table, key_use_table
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import coverage_table, load_table
from estelam.storage.statements import Statement

_load, _note, _use = load_table.c, fact_note_table.c, key_use_table.c
_NEWEST = select(_load.number, _load.sha256).order_by(_load.number.desc()).limit(1).subquery()
_NOTED = (
    select(_note.number, _note.sha256)
    .where(_note.kind == NoteKind.LOAD.value)
    .order_by(_note["index"].desc())
    .limit(1)
    .subquery()
)
# One row, also where no coverage is declared or nothing is loaded.
_READ = Statement(
    select(
        _NEWEST.c.number.label("newest_number"),
        _NEWEST.c.sha256.label("newest_sha256"),
        _NOTED.c.number.label("noted_number"),
        _NOTED.c.sha256.label("noted_sha256"),
        coverage_table.c.feeds,
        coverage_table.c.since,
        coverage_table.c.as_of_micros,
        coverage_table.c.tracking_since,
        select(func.max(annulment_table.c.annulled_by)).scalar_subquery().label("last_annulment"),
        select(_use.check_value).where(_use.key_id == bindparam("key_id")).scalar_subquery().label("key_check_value"),
    ).select_from(
        select(literal(1).label("one"))
        .subquery()
        .outerjoin(coverage_table, true())
        .outerjoin(_NEWEST, true())
        .outerjoin(_NOTED, true())
    )
)


class LoadId(NamedTuple):
    """The identity of a load. Where facts are rebuilt, another file has the same number."""

    number: int
    sha256: str
    """The file's hash."""


class Basis(NamedTuple):
    """What answers are from."""

    newest_number: int | None
    newest_sha256: str | None
    noted_number: int | None
    noted_sha256: str | None
    feeds: str | None
    since: date | None
    as_of_micros: int | None
    tracking_since: date | None
    last_annulment: int | None
    """The newest entry that annuls another one."""
    key_check_value: bytes | None
    """What recognizes the HMAC key in use; None: no entry was written under it yet."""

    @property
    def newest_load(self) -> LoadId | None:
        """The newest load; None if there is none."""
        return _load_id(self.newest_number, self.newest_sha256)

    @property
    def noted_load(self) -> LoadId | None:
        """The load that the ledger noted last; None if there is none."""
        return _load_id(self.noted_number, self.noted_sha256)

    def coverage(self, required: Collection[str]) -> Coverage | None:
        """The declared coverage, if it is that of the *required* feeds: other settings would declare another."""
        if self.since is None or self.as_of_micros is None or not coverage.is_of(self.feeds or "", required):
            return None
        return Coverage(self.since, to_datetime(self.as_of_micros), self.tracking_since)


def _load_id(number: int | None, sha256: str | None) -> LoadId | None:
    return None if number is None or sha256 is None else LoadId(number, sha256)


def start(connection: Connection, key_id: str = "") -> Callable[[], Basis]:
    """Read or queue the basis; *key_id* is the HMAC key in use, if any."""
    read = _READ.start(connection, key_id=key_id)
    return cache(lambda: Basis(*read()[0]))
