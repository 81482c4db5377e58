"""Recall: finds past answers that would be different now, after late or corrected data.

It takes the subjects of the facts that loads changed, finds the entries about them by keyed hash, and re-evaluates each
entry from today's facts. The ledger holds no identifier; the facts do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select

from estelam.core.clock import to_datetime, to_micros
from estelam.core.exceptions import UsageError
from estelam.core.keys import HmacKeyring
from estelam.core.model import Subject
from estelam.inquiry.v1 import inquiry_pb2 as pb
from estelam.ledger import search
from estelam.storage.facts import load_table
from estelam.storage.store import StoreError

ROWS_AT_ONCE = 2000
SUBJECTS_AT_ONCE = 100_000
ENTRIES_AT_ONCE = 500

T = TypeVar("T")


class RecallOutcome(StrEnum):
    """An answer: as recorded in an entry, or as it would be now."""

    YES = "YES"
    NO = "NO"
    DISCLOSED = "DISCLOSED"
    REFUSED = "REFUSED"
    INDETERMINATE = "INDETERMINATE"
    """Parties would be disclosed, but the facts have changed since: they may be others."""


_ANSWERED: Mapping[int, RecallOutcome] = {
    pb.OUTCOME_YES: RecallOutcome.YES,
    pb.OUTCOME_NO: RecallOutcome.NO,
    pb.OUTCOME_DISCLOSED: RecallOutcome.DISCLOSED,
}


class PastAnswer(NamedTuple):
    """An answered inquiry with its first subject."""

    subject: Subject
    entry: pb.Entry


class RecallSource(Protocol):
    """A service's access to its facts."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Yield once each subject whose answers may have changed by a load after load number *after*."""

    def reevaluate(
        self, connection: Connection, keyring: HmacKeyring, asked: Sequence[PastAnswer]
    ) -> Sequence[RecallOutcome]:
        """Return the answer that each of *asked* would get now."""


class Recalled(NamedTuple):
    """A past answer that would be different now."""

    caller: str
    inquiry_id: str
    answered_at: str
    method: str
    then: RecallOutcome
    now: RecallOutcome
    entry: int


def load_before(connection: Connection, since: int | datetime, now: datetime) -> int:
    """Return the number of the last load to leave out: load *since* itself, or the last one before that instant.

    Raises:
        StoreError: nothing has been loaded.
        UsageError: there is no such load, the instant is in the future, or it is before the first load whose changes
            the store has recorded.
    """
    loads = load_table.c
    last, unrecorded = _last(connection), _last(connection, loads.covered_since.is_(None))
    if not last:
        raise StoreError("nothing has been loaded yet, so there is nothing to recall")
    if isinstance(since, datetime):
        if since > now:
            raise UsageError("--since is in the future")
        first = connection.execute(select(func.min(loads.number)).where(loads.loaded_at_micros >= to_micros(since)))
        since = int(first.scalar() or last + 1) - 1
    if not 0 <= since <= last:
        raise UsageError(f"--since: there is no such load; the last one is {last}")
    if max(since, 1) <= unrecorded:
        raise UsageError(f"--since: changes are recorded from load {unrecorded + 1} on; give that load or a later one")
    return since


def _last(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    return connection.execute(select(func.max(load_table.c.number)).where(*conditions)).scalar() or 0


def newest_load(connection: Connection) -> datetime:
    """Return the time of the newest load."""
    return to_datetime(connection.execute(select(func.max(load_table.c.loaded_at_micros))).scalar_one())


def recall(connection: Connection, keyring: HmacKeyring, facts: RecallSource, after: int) -> Iterator[Recalled]:
    """Yield every answer that would be different now, among those that a load after load *after* may have changed.

    Raises:
        StoreError: the keyring lacks a key that the hashes of entries were made with.
    """
    if search.hmac_key_ids(connection) - set(keyring.ids):
        raise StoreError("the keyring lacks a key that older entries were hashed with; add it to recall them too")
    for subjects in _batched(facts.changed(connection, after), SUBJECTS_AT_ONCE):
        by_hash = {keyed: subject for subject in subjects for keyed in keyring.hashes_under_all_keys(subject)}
        for asked in _batched(_past_answers(connection, by_hash), ENTRIES_AT_ONCE):
            for (_, entry), now in zip(asked, facts.reevaluate(connection, keyring, asked), strict=True):
                if now != _ANSWERED[entry.outcome]:
                    yield _recalled(entry, now)


def _past_answers(connection: Connection, by_hash: Mapping[bytes, Subject]) -> Iterator[PastAnswer]:
    for entry in search.entries_by_subject(connection, by_hash.keys()):
        if entry.outcome in _ANSWERED:
            yield PastAnswer(by_hash[entry.subjects[0]], entry)


def _recalled(entry: pb.Entry, now: RecallOutcome) -> Recalled:
    return Recalled(
        caller=entry.caller,
        inquiry_id=str(UUID(bytes=entry.inquiry_id)),
        answered_at=to_datetime(entry.answered_at_micros).isoformat(timespec="microseconds"),
        method=entry.method.rpartition("/")[2],
        then=_ANSWERED[entry.outcome],
        now=now,
        entry=entry.sequence,
    )


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
