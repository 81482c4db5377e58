"""Changes of the catalogue, as the services recorded them in their ledgers: each change once, newest first."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from estelam.catalogue.changes import Change, from_notice
from estelam.core.clock import to_datetime
from estelam.core.keys import VerifyingKey, verifying_keys
from estelam.ledger import search
from estelam.ledger.verified_rows import VerifiedRows
from estelam.storage.store import Store
from quality.settings import QualitySettings


@dataclass(frozen=True, slots=True)
class RecordedChange:
    """A change, when a service first recorded it, and its entry number in each ledger."""

    change: Change
    at: datetime
    entries: Mapping[str, int]
    """Entry number by service."""

    @property
    def minute(self) -> datetime:
        """The minute of recording: changes made together are recorded together."""
        return self.at.replace(second=0, microsecond=0)


def list_changes(settings: QualitySettings) -> list[RecordedChange]:
    """All changes recorded in the ledgers of *settings*, newest first.

    Raises:
        StoreError, SQLAlchemyError: a ledger can't be read.
        LedgerCorruptError, LedgerUncheckedError: a notice is not under a checkpoint that a known key signed.
        KeyFileError, OSError: a file of keys can't be used.
    """
    found: dict[tuple[str, int], RecordedChange] = {}
    for service, address in settings.ledgers.items():
        keys = verifying_keys([settings.ledger_certificates[service]], settings.ledger_retired_keys.get(service))
        occurrences: Counter[str] = Counter()
        for notice, change, at, index in _read_notices(address, keys):
            # The same change may be made again after it was reverted: each occurrence is listed.
            key = notice, occurrences[notice]
            occurrences[notice] += 1
            before = found.get(key)
            entries = {**before.entries, service: index} if before else {service: index}
            found[key] = RecordedChange(change, min(at, before.at) if before else at, entries)
    return sorted(found.values(), key=lambda one: one.at, reverse=True)


def _read_notices(address: str, keys: Mapping[str, VerifyingKey]) -> Iterator[tuple[str, Change, datetime, int]]:
    with contextlib.closing(Store(address)) as store, store.transaction() as connection:
        rows = VerifiedRows.of(connection, keys)
        for stored, change in search.catalogue_notices(connection, rows, from_notice, proves_archived=False):
            yield stored.entry.notice, change, to_datetime(stored.entry.answered_at_micros), stored.index
