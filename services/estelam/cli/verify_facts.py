"""Comparison of the stored facts with the loads that the ledger notes."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection

from estelam.cli import output
from estelam.cli.commands.ledger import exit_ledger_fault
from estelam.core.keys import verifying_keys
from estelam.core.settings import StoreSettings, load_settings
from estelam.ledger import loads
from estelam.ledger.archives import Archives
from estelam.ledger.errors import LedgerCorruptError, LedgerUncheckedError
from estelam.ledger.recall import Snapshot, settled_snapshot
from estelam.ledger.verified_rows import VerifiedRows
from estelam.loading.feed import Feed
from estelam.loading.stored_rows import digest_stored
from estelam.storage.schema import check_schema
from estelam.storage.store import Store


def verify_facts(
    kind: type[StoreSettings],
    feeds: Sequence[Feed],
    *,
    settle: float,
    archive: Path | None,
    as_json: bool,
) -> None:
    """Compare the stored rows of each feed with what the ledger notes of its loads, and print the result.

    Args:
        kind: The service's settings.
        feeds: The kinds of files of the service.
        settle: Seconds to wait until the newest load is noted.
        archive: The folder of the files of archived entries.
        as_json: Whether the result is printed as JSON.
    """
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE):
        settings = load_settings(kind)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        with contextlib.closing(Store(settings.store)) as store:
            check_schema(store, settings.MIGRATIONS)
            with (
                settled_snapshot(store, settle) as snapshot,
                Archives(snapshot.connection, settings.SECTION, archive) as archives,
            ):
                try:
                    rows = VerifiedRows.of(snapshot.connection, keys, archives.connections)
                    found = list(_compare(snapshot, feeds, rows))
                except (LedgerCorruptError, LedgerUncheckedError) as error:
                    exit_ledger_fault(settings.SECTION, error, as_json=as_json)
    output.print_rows(("feed", "load", "rows", "compared"), found, as_json=as_json)


def _compare(
    snapshot: Snapshot, feeds: Sequence[Feed], verified: VerifiedRows
) -> Iterator[tuple[str, int, int | None, bool]]:
    """Yield each feed with its newest load, and its rows if they could be compared.

    Raises:
        LedgerCorruptError: rows or loads are not those that the ledger notes.
        LedgerUncheckedError: a load is not noted yet.
    """
    if snapshot.unnoted:
        raise LedgerUncheckedError(
            f"load {max(snapshot.unnoted)} is not noted in the ledger; run the command again while the service runs"
        )
    connection = snapshot.connection
    for name, expected in loads.expected_rows(connection, list(loads.notes(connection, verified))).items():
        if expected.digest is None:
            yield name, expected.load, None, False
            continue
        count, total = 0, 0
        for kind in feeds:  # a feed has rows in one of their tables only
            rows, digest = _digest(connection, kind, name)
            count, total = count + rows, total + digest
        if total % loads.DIGESTS != expected.digest:
            raise LedgerCorruptError(
                f"the {count:,} stored rows of the feed {name} are not those that it delivered up to load "
                f"{expected.load}: a row was changed, added or removed by something else than a load. Load the feed's "
                "next whole file and run recall, which lists the answers that were wrong; or restore the facts"
            )
        yield name, expected.load, count, True


def _digest(connection: Connection, kind: Feed, name: str) -> tuple[int, int]:
    try:
        rows, digest = digest_stored(connection, kind, name)
    except (ValueError, TypeError):
        raise LedgerCorruptError(f"a stored row of the feed {name} has a value of another type") from None
    return rows, int(digest, 16)
