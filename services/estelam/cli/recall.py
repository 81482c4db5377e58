"""Recall from the command line: list the answers already given that would be different now."""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from google.protobuf.message import DecodeError
from sqlalchemy.exc import SQLAlchemyError

from estelam.cli import output
from estelam.cli.options import Format
from estelam.cli.recall_export import Lists, check_free
from estelam.core import dates
from estelam.core.clock import Clock
from estelam.core.keys import HmacKeyring
from estelam.core.settings import StoreSettings, load_settings
from estelam.ledger import recall
from estelam.ledger.recall import Recalled, RecallSource
from estelam.storage.migrate import check_schema
from estelam.storage.store import Store, StoreError


def recall_answers(
    kind: type[StoreSettings],
    facts: RecallSource,
    *,
    since: str,
    form: Format,
    out: Path | None,
    settle: float,
    as_json: bool,
) -> None:
    """Print or write the answers already given that would be different now: all of them, or none and exit 2 or 21."""
    form = Format.JSON if as_json else form
    with output.user_errors(as_json=as_json, code=output.EXIT_UNAVAILABLE), Lists() as lists:
        settings, now = load_settings(kind), Clock().now()
        moment = output.parse_option(
            "--since", since, lambda text: dates.parse_load_or_instant(text, now), as_json=as_json
        )
        if out:
            check_free(out)
        recalled = _recalled(settings, facts, moment, now, settle)
        lists.fill(output.track(recalled, "answers to recall", as_json=as_json or form is not Format.TABLE))
        if out:
            written = lists.write_each(out, form)
            output.print_record({"answers": sum(written.values()), "lists": written}, as_json=as_json)
        else:
            lists.show(form)


def _recalled(
    settings: StoreSettings, facts: RecallSource, since: int | datetime, now: datetime, settle: float
) -> Iterator[Recalled]:
    keyring = HmacKeyring.load(settings.hmac_keyring)
    try:
        with contextlib.closing(Store(settings.store)) as store:
            check_schema(store, settings.MIGRATIONS)
            with recall.settled_snapshot(store, settle) as snapshot:
                after = recall.load_before(snapshot, since, now)
                yield from recall.recall(snapshot, keyring, facts, after)
    except SQLAlchemyError as error:
        raise StoreError(
            f"{settings.SECTION}: the store failed while it was read; check the database and run the command again"
        ) from error
    except (DecodeError, ValueError) as error:
        raise StoreError(f"an entry of the ledger is damaged; run: estelam ledger verify {settings.SECTION}") from error
