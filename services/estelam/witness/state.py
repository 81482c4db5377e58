"""What a witness remembers: the last checkpoint that it cosigned of each log, in a file of its own."""

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from estelam.core.exceptions import ServerError
from estelam.core.files import write_atomic
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint


class WitnessState:
    """The files of a folder, which one process at a time uses."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def single_process_lock(self) -> Iterator[None]:
        """Hold the lock of the only witness that uses the folder.

        Raises:
            ServerError: there is no such folder, or another process holds the lock.
        """
        if not self._folder.is_dir():
            # Not made here: a witness that lost its folder would cosign what contradicts its earlier cosignatures.
            raise ServerError(f"witness.state: there is no folder {self._folder}; make it once, for a new key alone")
        with (self._folder / "witness.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ServerError(f"witness.state: another witness uses the folder {self._folder}") from error
            yield

    def last(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint that was cosigned of the log *origin*; None if none was.

        Raises:
            ValueError: its file is damaged.
            OSError: its file can't be read.
        """
        path = self._path(origin, "checkpoint")
        if not path.exists():
            return None
        found = checkpoint.parse(path.read_text("utf-8"), extensible=True).checkpoint
        if found.origin != origin:
            raise ValueError("the file is of another log")
        return found

    def store(self, origin: str, note: str) -> None:
        """Store *note* as the last checkpoint of the log *origin*; it is on the disk when this returns.

        Raises:
            OSError: it could not be written; the earlier one is kept.
        """
        write_atomic(self._path(origin, "checkpoint"), note, durable=True)

    def store_evidence(self, origin: str, note: str) -> None:
        """Store the first *note* by which the log *origin* contradicts a cosigned checkpoint, as evidence.

        Raises:
            OSError: it could not be written.
        """
        path = self._path(origin, "contradiction")
        if not path.exists():
            write_atomic(path, note, durable=True)

    def _path(self, origin: str, ending: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.{ending}"
