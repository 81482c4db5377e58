"""The command `estelam ledger archive`: move closed partitions of entries to files."""

import contextlib
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from estelam.cli import output
from estelam.cli.commands.ledger import ledger_of, newest_checkpoint
from estelam.cli.stores import settings_of
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.keys import verifying_keys
from estelam.ledger import archives
from estelam.storage.store import AccessMode, Store, StoreError, is_single_process


def archive_entries(service: str, folder: Path, before: int, *, as_json: bool) -> None:
    """Write each partition of the ledger of *service* that ends before index *before* to *folder*, and remove it.

    It stops before entries of the last 25 hours, which may confirm an inquiry.
    """
    files = []
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = settings_of(service)
        if is_single_process(settings.store):
            raise UsageError(f"the ledger of {service} is on SQLite, which has no partitions")
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        while True:
            with ledger_of(service, as_json=as_json) as connection:
                _, last = newest_checkpoint(connection, service, None, keys)
                first, end, stop = archives.next_range(connection, before, Clock().micros())
                if stop is not None:
                    break
                notes = archives.write(connection, service, folder, (first, end), last)
            _detach(settings.store, (first, end), notes)
            files.append(str(archives.file_of(folder, service, first)))
    if as_json:
        facts = {"service": service, "archived": files, "stopped_at": first, "stopped_by": stop.name.lower()}
        output.print_record(facts, as_json=True)
        return
    for path in files:
        output.print_line(f"archived: {path}")
    rest = f"the partition of the entries {first:,} to {end - 1:,} of the ledger of {service}"
    output.print_line(f"{'stopped before' if files else 'nothing is archived of'} {rest}: {stop.value}")


def _detach(url: str, entries: tuple[int, int], notes: list[int]) -> None:
    with contextlib.closing(Store(url, ledger=AccessMode.WRITE)) as store:
        try:
            with store.transaction() as connection:
                archives.detach(connection, entries, notes, Clock().micros())
        except DBAPIError as error:
            raise StoreError(
                f"the partition of entry {entries[0]:,} is written, but could not be removed from the store; run the "
                "command again, as the role that owns the tables, when no recall, report or verification is running"
            ) from error
