"""Notes that commands write to a ledger: what an operator did or acknowledged, kept for ever."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection

from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.keys import HmacKeyring, SigningKey
from estelam.core.normalize import check_line
from estelam.core.settings import StoreSettings
from estelam.ledger.writer import LedgerWriter
from estelam.storage.schema import check_schema
from estelam.storage.store import AccessMode, Store

MAX_TEXT = 200
"""Characters of an operator's name or a reason."""


def check_texts(*, operator: str, reason: str) -> None:
    """Check who states a note and why.

    Raises:
        UsageError: a text is empty, too long, or has a character that is not visible.
    """
    for option, text in (("--operator", operator), ("--reason", reason)):
        try:
            check_line(text, MAX_TEXT)
        except ValueError as error:
            raise UsageError(f"{option}: {error}; give 1 to {MAX_TEXT} characters on one line") from None


@contextlib.contextmanager
def ledger_writer(settings: StoreSettings, clock: Clock) -> Iterator[tuple[Connection, LedgerWriter]]:
    """Yield a connection that holds the append lock, and what appends to the ledger; commit at the end of the block.

    Raises:
        StoreError: the store can't be used; on SQLite also while the service runs.
        KeyFileError: a key can't be used.
        OSError: a file can't be read.
    """
    keyring = HmacKeyring.load(settings.hmac_keyring)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates, settings.retired_keys)
    writer = LedgerWriter(settings.SECTION, keyring=keyring, signer=signer, clock=clock)
    with contextlib.closing(Store(settings.store, ledger=AccessMode.WRITE)) as store, store.single_writer_lock():
        check_schema(store, settings.MIGRATIONS)
        with store.transaction() as connection:
            yield connection, writer
