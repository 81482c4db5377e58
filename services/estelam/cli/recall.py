"""Recall from the command line: list the answers already given that would be different now."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError
from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output
from estelam.cli.options import Format
from estelam.cli.recall_export import Lists
from estelam.core import dates
from estelam.core.clock import Clock, to_micros
from estelam.core.keys import HmacKeyring, verifying_keys
from estelam.core.settings import StoreSettings, load_settings
from estelam.ledger import key_use, recall, search
from estelam.ledger.archives import Archives
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.recall import RecallSource, Snapshot
from estelam.ledger.recall_runs import RecallRun, store_run
from estelam.ledger.verified_rows import VerifiedRows
from estelam.storage.coverage import check_feeds
from estelam.storage.schema import check_schema
from estelam.storage.store import Store, StoreError


def recall_answers(
    kind: type[StoreSettings],
    facts: RecallSource,
    *,
    since: str,
    form: Format,
    out: Path | None,
    settle: float,
    archive: Path | None,
    as_json: bool,
) -> None:
    """Print or write the answers already given that would be different now: all of them, or none and exit 2 or 21.

    The run is stored before any answer is shown, so that the service notes it in the ledger.
    """
    form = Format.JSON if as_json else form
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE), Lists() as lists:
        settings, now = load_settings(kind), Clock().now()
        moment = output.parse_option(
            "--since", since, lambda text: dates.parse_load_or_instant(text, now), as_json=as_json
        )
        if out:
            output.check_new_folder(out, "--out")
        keyring = HmacKeyring.load(settings.hmac_keyring)
        keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
        with (
            _snapshot(settings, settle) as snapshot,
            Archives(snapshot.connection, settings.SECTION, archive) as archives,
        ):
            searched, gaps = search.size(snapshot.connection), key_use.unsearchable(snapshot.connection, keyring)
            after = recall.load_before(snapshot, moment, now)
            rows = VerifiedRows.of(snapshot.connection, keys, archives.connections)
            recalled = recall.recall(snapshot, keyring, facts, after, rows, archives.connections)
            lists.fill(output.track(recalled, "answers to recall", as_json=as_json or form is not Format.TABLE))
        answers = sum(lists.counts().values())
        store_run(settings.store, RecallRun(to_micros(now), after, snapshot.newest, answers))
        if out:
            written = lists.write_each(out, form)
            summary = {"searched_entries": searched, "keys": keyring.ids, "answers": answers, "lists": written}
            summary |= {"not_searched": [each._asdict() for each in gaps]} if as_json else {}
            output.print_record(summary, as_json=as_json)
        else:
            lists.show(form)
            callers = output.counted(len(lists.counts()), "caller")
            found = f"{output.counted(answers, 'answer')} to {callers} would be different now" if answers else "none"
            output.print_line(output.searched(searched, keyring.ids, found), to_stderr=True)
        for gap in gaps:
            output.print_line(f"NOT SEARCHED: {gap}", to_stderr=True)


@contextlib.contextmanager
def _snapshot(settings: StoreSettings, settle: float) -> Iterator[Snapshot]:
    """Open the store and yield a settled snapshot of it; errors of what is read from it become StoreErrors."""
    try:
        with contextlib.closing(Store(settings.store)) as store:
            check_schema(store, settings.MIGRATIONS)
            with recall.settled_snapshot(store, settle) as snapshot:
                check_feeds(snapshot.connection, settings.feeds)
                yield snapshot
    except SQLAlchemyError as error:
        raise StoreError(
            f"{settings.SECTION}: the store failed while it was read; check the database and run the command again"
        ) from error
    except (LedgerCorruptError, DecodeError, ValueError) as error:
        raise StoreError(f"an entry of the ledger is damaged; run: estelam ledger verify {settings.SECTION}") from error
