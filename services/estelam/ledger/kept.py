"""The checkpoint that a service keeps beside its store: by it the next start notices a ledger that is not its sequel.

A store restored from a backup, or rewritten by a holder of the signing key, is valid in itself. Signing its next
checkpoint would fork the ledger: receipts that were given out name entries that it lacks. The kept checkpoint is read
from commits, so it may be behind the ledger and is never ahead of it.

On SQLite there is also that of the last commit, which `LastCommit` writes before the answers leave, on the store's disk
and without waiting for it. It is there after any end of the process; after a loss of power it may be older or damaged.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from estelam.core.addresses import beside
from estelam.core.exceptions import describe_error
from estelam.core.files import PRIVATE_FILE, locked_folder, sync_folder, write_atomic
from estelam.core.keys import VerifyingKey
from estelam.core.settings import StoreSettings
from estelam.ledger.errors import LedgerCorruptError
from estelam.ledger.tables import last_checkpoint
from estelam.ledger.verify import verify_heads
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.note import MAX_NOTE
from estelam.receipts.problems import InvalidReceipt, ReceiptProblem
from estelam.receipts.tree import EMPTY_ROOT
from estelam.storage.base import StoreError

UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """That a ledger is not the sequel of the kept checkpoint, or that a damaged file can't show that it is."""

    kept: str
    """The kept checkpoint as SIZE:ROOT, or UNREADABLE."""
    ledger: str
    """The ledger's newest checkpoint as SIZE:ROOT."""
    problem: str

    def refusal(self, service: str, path: Path) -> StoreError:
        """Return the error with which the service refuses to start."""
        acknowledge = f"run: estelam ledger acknowledge-restore {service} --operator NAME --reason TEXT"
        if self.kept == UNREADABLE:
            return StoreError(
                f"the checkpoint kept in {path} is damaged: {self.problem}. So it can't show whether the ledger of "
                f"{service} has lost its end. Run: estelam ledger verify {service} --heads FILE, with the checkpoints "
                "published last. If it continues them, rename the kept file and start again; if not, put the right "
                f"store in place, or if its end is lost for good, {acknowledge}"
            )
        return StoreError(
            f"the ledger of {service} does not continue the checkpoint kept in {path}: {self.problem}. Signing "
            "on would contradict receipts that were given out. Put the right store in place; if its end is lost for "
            f"good, {acknowledge}"
        )


def kept_path(settings: StoreSettings) -> Path | None:
    """Return the file in which the service keeps its newest checkpoint; None if it keeps none."""
    return settings.kept_checkpoint or beside(settings.store, "checkpoint")


def last_commit_path(settings: StoreSettings) -> Path | None:
    """Return the file of the last commit's checkpoint; None on PostgreSQL, which loses no commit with a file."""
    return beside(settings.store, "checkpoint.last")


def mismatch(
    connection: Connection, path: Path, last_commit: Path | None, keys: Mapping[str, VerifyingKey], origin: str
) -> Mismatch | None:
    """Return how the ledger differs from the checkpoint kept in *path*; None if it continues it, or there is no file.

    The one in *last_commit* counts in its place if it is newer. The root at its size is computed from the ledger's
    nodes and entries, and must lead to the ledger's newest root.

    Args:
        connection: A connection to the ledger's store.
        path: The file; the service made it.
        last_commit: The file of the last commit's checkpoint, if any.
        keys: The signing keys, present and past, by their ids.
        origin: The name of the ledger.

    Raises:
        StoreError: the ledger's last checkpoint is damaged; or the file can't be opened, is of another ledger, or is
            signed with a key that is not among *keys*: then the settings are wrong, and not the ledger.
    """
    newest = last_checkpoint(connection)
    try:
        last = checkpoint.parse(newest).checkpoint if newest else Checkpoint(origin, 0, EMPTY_ROOT)
    except ValueError:
        raise StoreError("the last checkpoint of the ledger is damaged") from None
    try:
        kept = _read(path, keys, origin)
    except ValueError as error:
        return Mismatch(UNREADABLE, str(last), describe_error(error))
    kept = _last_commit(last_commit, keys, origin, kept) if last_commit else kept
    if kept is None:
        return None
    if kept.size > last.size:
        return Mismatch(str(kept), str(last), f"it has {kept.size} entries, the ledger has only {last.size}")
    try:
        verify_heads(connection, last, [(kept.size, kept.root)])
    except LedgerCorruptError:
        problem = f"its {kept.size} entries are not the first of the ledger, which has {last.size}"
        return Mismatch(str(kept), str(last), problem)
    return None


def keep(path: Path, note: str) -> None:
    """Store the checkpoint *note* in *path*, durably, unless it holds one of as many entries or more already.

    Several processes may do so, one at a time: one that read an older checkpoint writes nothing.

    Raises:
        OSError: the file can't be written.
    """
    with locked_folder(path.parent):
        if (stored := read(path)) is None or stored[0] < checkpoint.parse(note).checkpoint.size:
            write_atomic(path, note, durable=True)


def read(path: Path) -> tuple[int, str] | None:
    """Return the size and the note of the checkpoint in *path*, unverified; None: there is none, or it is damaged.

    Raises:
        OSError: the file can't be read.
    """
    try:
        note = _text(path)
        return checkpoint.parse(note).checkpoint.size, note
    except (FileNotFoundError, ValueError):
        return None


class LastCommit:
    """The file *path* of the last commit's checkpoint.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        self._length = 0

    def write(self, note: str) -> None:
        """Replace the checkpoint in the file by *note*.

        Raises:
            OSError: the file can't be written.
        """
        content = note.encode()
        os.pwrite(self._descriptor, content, 0)
        if len(content) != self._length:
            os.ftruncate(self._descriptor, len(content))
            self._length = len(content)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def set_aside(path: Path) -> Path:
    """Rename the checkpoint *path* to the first free of *path*.1, *path*.2 and so on, and return that.

    Raises:
        OSError: it can't be renamed.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    path.rename(aside)
    sync_folder(path.parent)
    return aside


def _read(path: Path, keys: Mapping[str, VerifyingKey], origin: str) -> Checkpoint | None:
    """Return the checkpoint in *path*; None if there is no file.

    Raises:
        ValueError: the file is damaged.
        StoreError: it can't be opened, is of another ledger than *origin*, or none of *keys* signed it.
    """
    try:
        note = _text(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"the kept checkpoint can't be read: {describe_error(error)}; correct that") from None
    parsed = checkpoint.parse(note)
    if parsed.checkpoint.origin != origin:
        raise StoreError(
            f"{path}: holds a checkpoint of the ledger {parsed.checkpoint.origin}, and this one is {origin}; name this "
            "service's own file in kept_checkpoint"
        )
    try:
        return checkpoint.verify(note, keys)[0]
    except InvalidReceipt as invalid:
        if invalid.problem is not ReceiptProblem.UNKNOWN_KEY:
            raise ValueError("its signature is wrong") from None
    hashes = ", ".join(line.key_hash.hex() for line in parsed.signatures if line.name == origin)
    raise StoreError(
        f"{path}: the kept checkpoint is signed with a key (hash {hashes}) whose certificate is not in "
        "signing_certificates; put it back: the certificates of past keys stay there for ever"
    )


def _last_commit(
    path: Path, keys: Mapping[str, VerifyingKey], origin: str, kept: Checkpoint | None
) -> Checkpoint | None:
    """Return the last commit's checkpoint, in *path*, if it is valid and has more entries than *kept*; else *kept*."""
    try:
        last, _ = checkpoint.verify(_text(path), keys)
    except (OSError, ValueError, InvalidReceipt):
        return kept
    return last if last.origin == origin and (kept is None or last.size > kept.size) else kept


def _text(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(MAX_NOTE + 1)
