"""Recall: the answers already given that would be different now, after late or corrected data.

From the facts that loads changed to their subjects, by the keyed hashes of these to the entries about them, and from
today's facts to what each would be answered now. The ledger holds no identifier; the facts do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select

from estelam.core.clock import to_datetime, to_micros
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
    """What an entry says was answered, and what would be answered now."""

    YES = "YES"
    NO = "NO"
    DISCLOSED = "DISCLOSED"
    REFUSED = "REFUSED"
    INDETERMINATE = "INDETERMINATE"
    """Information items would be given, but their facts have changed since: they may be others."""


_ANSWERED: Mapping[int, RecallOutcome] = {
    pb.OUTCOME_YES: RecallOutcome.YES,
    pb.OUTCOME_NO: RecallOutcome.NO,
    pb.OUTCOME_DISCLOSED: RecallOutcome.DISCLOSED,
}


class PastAnswer(NamedTuple):
    """An answered inquiry, and whom or what it was about."""

    subject: Subject
    entry: pb.Entry


class RecallSource(Protocol):
    """What a service tells of its facts."""

    def changed(self, connection: Connection, after: int) -> Iterator[Subject]:
        """Every subject, each once, whose answers a load after load *after* may have changed."""

    def reevaluate(
        self, connection: Connection, keyring: HmacKeyring, asked: Sequence[PastAnswer]
    ) -> Sequence[RecallOutcome]:
        """What each of *asked* would be answered now."""


class Recalled(NamedTuple):
    """An answer that would be different now."""

    caller: str
    inquiry_id: str
    answered_at: str
    method: str
    then: RecallOutcome
    now: RecallOutcome
    entry: int


def load_before(connection: Connection, since: int | datetime, now: datetime) -> int:
    """The number of the last load that is not looked at: load *since* itself, or the last one before that instant.

    Raises:
        StoreError: nothing was loaded, there is no such load, the instant is yet to come, or it lies before what the
            store remembers.
    """
    loads = load_table.c
    last, forgotten = _last(connection), _last(connection, loads.covered_since.is_(None))
    if not last:
        raise StoreError("nothing has been loaded yet: there is nothing to recall")
    if isinstance(since, datetime):
        if since > now:
            raise StoreError("--since lies in the future")
        first = connection.execute(select(func.min(loads.number)).where(loads.loaded_at_micros >= to_micros(since)))
        since = int(first.scalar() or last + 1) - 1
    if not 0 <= since <= last:
        raise StoreError(f"--since names no load; the last one is {last}")
    if max(since, 1) <= forgotten:
        raise StoreError(
            f"what loads changed is remembered from load {forgotten + 1} on: it can be given, none earlier"
        )
    return since


def _last(connection: Connection, *those: ColumnElement[bool]) -> int:
    return connection.execute(select(func.max(load_table.c.number)).where(*those)).scalar() or 0


def newest_load(connection: Connection) -> datetime:
    """When the newest load was made."""
    return to_datetime(connection.execute(select(func.max(load_table.c.loaded_at_micros))).scalar_one())


def recall(connection: Connection, keyring: HmacKeyring, facts: RecallSource, after: int) -> Iterator[Recalled]:
    """Every answer that would be different now and whose facts a load after load *after* may have changed.

    Raises:
        StoreError: the keyring lacks a key that entries were written under.
    """
    if search.hmac_key_ids(connection) - set(keyring.ids):
        raise StoreError("the keyring lacks a key that older entries were written under: not all can be recalled")
    for subjects in _batched(facts.changed(connection, after), SUBJECTS_AT_ONCE):
        by_hash = {keyed: subject for subject in subjects for keyed in keyring.hashes_under_all_keys(subject)}
        for asked in _batched(_asked(connection, by_hash), ENTRIES_AT_ONCE):
            for (_, entry), word in zip(asked, facts.reevaluate(connection, keyring, asked), strict=True):
                if word != _ANSWERED[entry.outcome]:
                    yield _recalled(entry, word)


def _asked(connection: Connection, by_hash: Mapping[bytes, Subject]) -> Iterator[PastAnswer]:
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
