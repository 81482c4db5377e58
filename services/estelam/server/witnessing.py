"""Sends the ledger's newest checkpoint to witnesses, in the background, and stores their cosignatures."""

import contextlib
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from estelam.ledger import cosignatures, proofs
from estelam.ledger.tables import last_checkpoint
from estelam.receipts import checkpoint
from estelam.storage.store import Store
from estelam.witness.client import OtherSizeError, WitnessClient, WitnessError

log = structlog.get_logger()

MAX_WAIT_SECONDS = 3600.0

StoreWork = Callable[[Callable[[Connection], None]], object]
"""Runs work in a transaction that may write to the ledger."""


def submit_checkpoints(
    witness: WitnessClient,
    store_url: str,
    write: StoreWork,
    stopping: threading.Event,
    *,
    interval_seconds: float,
    count_failure: Callable[[str], None],
) -> None:
    """Send the newest checkpoint to *witness* every *interval_seconds*, less often after failures, until *stopping*.

    It reads the ledger over a connection of its own: the thread that answers only stores the cosignature.
    """
    wait, seen = interval_seconds, None
    with contextlib.closing(Store(store_url)) as store:
        while not stopping.is_set():
            try:
                seen = submit_newest(witness, store, write, seen)
                wait = interval_seconds
            except Exception as error:  # noqa: BLE001 - after any error the next checkpoint is still to be sent
                wait = min(2 * wait, max(MAX_WAIT_SECONDS, interval_seconds))
                count_failure(witness.key.name)
                text = str(error) if isinstance(error, WitnessError) else type(error).__name__
                log.warning("witness.failed", witness=witness.key.name, error=text, retry_seconds=wait)
            stopping.wait(wait)


def submit_newest(witness: WitnessClient, store: Store, write: StoreWork, seen: int | None = None) -> int:
    """Have *witness* cosign the newest checkpoint, and store its cosignature; return how many entries it has cosigned.

    Of several workers, one does: where the witness has cosigned more than *seen*, the number that an earlier call
    returned, another worker has sent a checkpoint since.

    Raises:
        WitnessError: it does not.
        Exception: the store can't be read or written.
    """
    with store.transaction() as connection:
        note = last_checkpoint(connection)
        known = cosignatures.cosigned_size(connection, witness.key.name)
        size = checkpoint.parse(note).checkpoint.size if note else 0
        if note is None or size == known or (seen is not None and known > seen):
            return known
        proof = proofs.consistency(connection, known, size, note)
    try:
        line = witness.add_checkpoint(proof, note)
    except OtherSizeError as other:  # another worker was faster, or a reply was lost
        if other.size > size:
            raise WitnessError(f"it has cosigned {other.size} entries, and this ledger has {size}") from None
        with store.transaction() as connection:
            proof = proofs.consistency(connection, other.size, size, note)
        line = witness.add_checkpoint(proof, note)
    write(lambda connection: cosignatures.store(connection, size, witness.key.name, line))
    return size
