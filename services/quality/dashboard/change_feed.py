"""The change feed: what the services noted of the catalogue's changes in their ledgers, told once, the newest first."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from estelam.catalogue.changes import Change, from_notice
from estelam.core.clock import to_datetime
from estelam.ledger import search
from estelam.storage.store import Store


@dataclass(frozen=True, slots=True)
class Noted:
    """A change, when a service first noted it, and in which ledgers under which number it stands."""

    change: Change
    at: datetime
    entries: Mapping[str, int]
    """By service, the entry's number."""

    @property
    def minute(self) -> datetime:
        """The minute of it: what was changed together is noted together."""
        return self.at.replace(second=0, microsecond=0)


def changes(ledgers: Mapping[str, str]) -> list[Noted]:
    """All changes that *ledgers* (addresses of stores, by service) have noted, the newest first.

    Raises:
        StoreError, SQLAlchemyError: one can't be read.
    """
    found: dict[tuple[str, int], Noted] = {}
    for service, address in ledgers.items():
        met: Counter[str] = Counter()
        for notice, at, sequence in _noted(address):
            # The same change may be made again after it was taken back: it is told each time.
            key = notice, met[notice]
            met[notice] += 1
            before = found.get(key)
            entries = {**before.entries, service: sequence} if before else {service: sequence}
            found[key] = Noted(from_notice(notice), min(at, before.at) if before else at, entries)
    return sorted(found.values(), key=lambda one: one.at, reverse=True)


def _noted(address: str) -> Iterator[tuple[str, datetime, int]]:
    with contextlib.closing(Store(address)) as kept, kept.transaction() as connection:
        for entry in search.catalogue_notices(connection):
            yield entry.notice, to_datetime(entry.answered_at_micros), entry.sequence
