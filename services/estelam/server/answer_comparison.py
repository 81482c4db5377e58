"""Compares past answers with each new load, in the background (`estelam.ledger.comparisons`)."""

import contextlib
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from estelam.core.exceptions import problem
from estelam.core.keys import HmacKeyring
from estelam.ledger import comparisons
from estelam.ledger.comparisons import SupersededError
from estelam.ledger.recall import RecallSource
from estelam.ledger.writer import LedgerWriter
from estelam.pipeline.failure_log import FailureLog
from estelam.storage.store import Store

log = structlog.get_logger()

CHECK_SECONDS = 1.0


def compare_answers(
    store_url: str,
    write: Callable[[Callable[[Connection], None]], object],
    keyring: HmacKeyring,
    facts: RecallSource,
    ledger: LedgerWriter,
    monotonic: Callable[[], float],
    stopping: threading.Event,
) -> None:
    """Look every second for a load that past answers are to be compared with, and compare them, until *stopping*.

    Facts and ledger are read over a connection of its own: the thread that answers only stores the changes found, and
    has at least as much time for inquiries.
    """
    failures = FailureLog(monotonic)

    def write_in_turns(work: Callable[[Connection], None]) -> None:
        began = monotonic()
        write(work)
        stopping.wait(monotonic() - began)

    with contextlib.closing(Store(store_url)) as store:
        while not stopping.wait(CHECK_SECONDS):
            try:
                done = comparisons.compare(store, write_in_turns, keyring, facts, ledger.verified_rows)
            except SupersededError:
                continue
            except Exception as error:  # noqa: BLE001 - after any error the load is still to be compared
                if (unlogged := failures.unlogged("answers.compare_failed", error)) is not None:
                    log.error(
                        "answers.compare_failed", error=type(error).__name__, problem=problem(error), unlogged=unlogged
                    )
                continue
            if done:
                log.info("answers.compared", load=done.load, changes=done.changes)
