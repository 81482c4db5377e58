"""Keeps the newest checkpoint of the ledger in a file beside the store (`estelam.ledger.kept`)."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from estelam.core.exceptions import problem
from estelam.ledger import kept
from estelam.ledger.proofs import note_of_size
from estelam.ledger.tables import last_checkpoint
from estelam.ledger.writer import LedgerWriter
from estelam.receipts import checkpoint
from estelam.storage.base import StoreError
from estelam.storage.store import Store

log = structlog.get_logger()

KEEP_SECONDS = 1.0


def keep_checkpoints(url: str, path: Path, ledger: LedgerWriter, stopping: threading.Event) -> None:
    """Write the newest checkpoint of the ledger at *url* to *path* every second, and once more at the end.

    It reads commits by a connection of its own, so that no inquiry waits for the file. The store may have lost what was
    answered from it: the newest checkpoint that *ledger* knows to be committed is kept too. A checkpoint that another
    process has written is replaced only by one of a ledger that continues it; until then *ledger* is not appended to.
    """
    continued: tuple[int, str] | None = None
    with contextlib.closing(Store(url)) as store:
        while True:
            is_last = stopping.wait(KEEP_SECONDS)
            notes, stored = [ledger.committed_note], None
            # Health reports a store that can't be read, and a ledger that can't be continued.
            with contextlib.suppress(SQLAlchemyError, StoreError, OSError):
                if (stored := kept.read(path)) and stored != continued:
                    ledger.keep_kept(*stored)
                with store.transaction() as connection:
                    if stored and stored[1] == note_of_size(connection, stored[0]):
                        continued = stored
                    notes.append(last_checkpoint(connection))
            newest = max((one for one in notes if one), key=_size, default="")
            is_newer = _size(newest) > (stored[0] if stored else 0)
            if is_newer and stored in (None, continued) and keep_checkpoint(path, newest):
                continued = _size(newest), newest
            if is_last:
                return


@contextlib.contextmanager
def last_commit_writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what writes a commit's checkpoint to *path*, if that is given, without waiting for the disk.

    Where that can't be done it is logged, and the kept checkpoint follows within a second all the same.
    """
    with contextlib.ExitStack() as opened:
        file: kept.LastCommit | None = None
        has_failed = False

        def write(note: str) -> None:
            nonlocal file, has_failed
            if path is None:
                return
            try:
                if file is None:
                    file = opened.enter_context(contextlib.closing(kept.LastCommit(path)))
                file.write(note)
            except OSError as error:
                if not has_failed:
                    log.error(
                        "checkpoint.keep_failed", error=type(error).__name__, problem=problem(error), path=str(path)
                    )
                has_failed = True
            else:
                has_failed = False

        yield write


def keep_checkpoint(path: Path, note: str) -> bool:
    """Write the checkpoint *note* to *path*; return whether that could be done."""
    try:
        kept.keep(path, note)
    except OSError as error:
        log.error("checkpoint.keep_failed", error=type(error).__name__, problem=problem(error), path=str(path))
        return False
    return True


def _size(note: str) -> int:
    try:
        return checkpoint.parse(note).checkpoint.size
    except ValueError:  # damaged
        return -1
