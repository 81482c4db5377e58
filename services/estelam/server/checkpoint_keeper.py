"""Keeps the newest checkpoint of the ledger in a file beside the store (`estelam.ledger.kept`)."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from estelam.ledger import kept
from estelam.ledger.tables import last_checkpoint
from estelam.receipts import checkpoint
from estelam.storage.base import StoreError
from estelam.storage.store import Store

log = structlog.get_logger()

KEEP_SECONDS = 1.0


def keep_checkpoints(url: str, path: Path, committed_note: Callable[[], str | None], stopping: threading.Event) -> None:
    """Write the newest checkpoint of the ledger at *url* to *path* every second, and once more at the end.

    It reads commits by a connection of its own, so that no inquiry waits for the file. The store may have lost what was
    answered from it: the newest checkpoint of which receipts were sent, which *committed_note* returns, is kept too.
    """
    last: str | None = None
    with contextlib.closing(Store(url)) as store:
        while True:
            is_last = stopping.wait(KEEP_SECONDS)
            notes = [committed_note()]
            # Health reports a store that can't be read.
            with contextlib.suppress(SQLAlchemyError, StoreError, OSError), store.transaction() as connection:
                notes.append(last_checkpoint(connection))
            newest = max(filter(None, notes), key=_size, default=None)
            if newest is not None and newest != last and keep_checkpoint(path, newest):
                last = newest
            if is_last:
                return


def keep_checkpoint(path: Path, note: str) -> bool:
    """Write the checkpoint *note* to *path*; return whether that could be done."""
    try:
        kept.keep(path, note)
    except OSError as error:
        log.error("checkpoint.keep_failed", error=type(error).__name__, path=str(path))
        return False
    return True


def _size(note: str) -> int:
    try:
        return checkpoint.parse(note).checkpoint.size
    except ValueError:  # damaged
        return -1
