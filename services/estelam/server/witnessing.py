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
    first: str | None,
    interval_seconds: float,
    count_failure: Callable[[str], None],
) -> None:
    """Send the newest checkpoint to *witness* every *interval_seconds*, less often after failures, until *stopping*.

    The checkpoint *first*, with which the ledger ended when the service started, is sent before any later one: its key
    may have been replaced since. When *stopping* is set, the newest one is sent once more, so that all is cosigned
    that was answered. The ledger is read over a connection of its own: the thread that answers only stores the
    cosignature.
    """
    wait, seen = interval_seconds, None
    with contextlib.closing(Store(store_url)) as store:
        while True:
            is_last = stopping.is_set()
            try:
                if first is not None:
                    submit_checkpoint(witness, store, write, note=first)
                    first = None
                seen = submit_checkpoint(witness, store, write, None if is_last else seen)
                wait = interval_seconds
            except Exception as error:  # noqa: BLE001 - after any error the next checkpoint is still to be sent
                wait = min(2 * wait, max(MAX_WAIT_SECONDS, interval_seconds))
                count_failure(witness.key.name)
                text = str(error) if isinstance(error, WitnessError) else type(error).__name__
                log.warning("witness.failed", witness=witness.key.name, error=text, retry_seconds=wait)
            if is_last:
                return
            stopping.wait(wait)


def submit_checkpoint(
    witness: WitnessClient, store: Store, write: StoreWork, seen: int | None = None, *, note: str | None = None
) -> int:
    """Have *witness* cosign a checkpoint, and store its cosignature; return how many entries it has cosigned.

    Args:
        witness: The witness.
        store: The ledger's store.
        write: Stores the cosignature.
        seen: What an earlier call returned. Of several workers one submits: where the witness has cosigned more than
            *seen*, another worker has submitted since, and nothing is done.
        note: The checkpoint, a signed note; by default the newest.

    Raises:
        WitnessError: it does not cosign.
        Exception: the store can't be read or written.
    """
    with store.transaction() as connection:
        newest = last_checkpoint(connection)
        note = note or newest
        known = cosignatures.cosigned_size(connection, witness.key.name)
        size, end = (checkpoint.parse(each).checkpoint.size if each else 0 for each in (note, newest))
        is_submitted = known == size or size < known <= end or (seen is not None and known > seen)
        if note is None or is_submitted:
            return known
        proof = proofs.consistency(connection, known, size, note)
    try:
        line = witness.add_checkpoint(proof, note)
    except OtherSizeError as other:  # another worker was faster, or a reply was lost
        if other.size > end:
            raise WitnessError(f"it has cosigned {other.size} entries, and this ledger has {end}") from None
        if other.size > size:
            return other.size
        with store.transaction() as connection:
            proof = proofs.consistency(connection, other.size, size, note)
        line = _resubmit(witness, proof, note, size)
    write(lambda connection: cosignatures.store(connection, size, witness.key.name, line))
    return size


def _resubmit(witness: WitnessClient, proof: str, note: str, size: int) -> str:
    """Submit *note*, of *size* entries, with a proof from where the witness stands."""
    try:
        return witness.add_checkpoint(proof, note)
    except OtherSizeError as other:
        if other.size != size:  # another worker was faster
            raise
        problem = f"it has cosigned another checkpoint of {size} entries: this ledger contradicts what it signed before"
        raise WitnessError(problem) from None
