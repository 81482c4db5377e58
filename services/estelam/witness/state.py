"""What a witness remembers: the last checkpoint that it cosigned of each log, in a file of its own.

The files stand in one folder or in two. Of two, the newer file counts: a folder that was restored from a backup makes
the witness forget nothing, as long as the other one was not.
"""

import fcntl
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from estelam.core.exceptions import ServerError
from estelam.core.files import write_atomic
from estelam.receipts import checkpoint
from estelam.receipts.checkpoint import Checkpoint
from estelam.receipts.note import MAX_NOTE


class WitnessState:
    """The files, which one process at a time uses.

    Args:
        folder: Their folder.
        kept: A second folder with the same files; it is created.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self._folder = folder
        self._folders = [folder, kept] if kept else [folder]
        self._known: dict[str, Checkpoint] = {}
        """The newest checkpoint of each log that this process has read or stored: the files never hold an older one."""

    @contextmanager
    def single_process_lock(self) -> Iterator[None]:
        """Hold the lock of the only witness that uses the folder.

        Raises:
            ServerError: there is no such folder, or another process holds the lock.
        """
        self.require_folder()
        with (self._folder / "witness.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ServerError(f"witness.state: another witness uses the folder {self._folder}") from error
            self.create()
            yield

    def require_folder(self) -> None:
        """Check that the first folder exists: a witness without it would cosign what contradicts its cosignatures.

        Raises:
            ServerError: there is none.
        """
        if not self._folder.is_dir():
            raise ServerError(f"witness.state: there is no folder {self._folder}; make it once, for a new key alone")

    def create(self) -> None:
        """Create the folders where there are none yet.

        Raises:
            OSError: one can't be created.
        """
        for folder in self._folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def check(self, origins: Iterable[str]) -> None:
        """Check that the last checkpoint of each of the logs *origins* can be read.

        Raises:
            ServerError: a file is damaged, or two contradict each other. Even where one copy is whole, the other may
                have been newer: only the operator knows which of them was never restored.
        """
        for origin in origins:
            try:
                self.last(origin)
            except ValueError as error:
                names = " and ".join(str(folder / _name(origin, "checkpoint")) for folder in self._folders)
                raise ServerError(
                    f"witness.state: the last checkpoint of {origin} in {names}: {error}. If the other copy was never "
                    "restored from a backup, remove the damaged one; otherwise use a new key and name, with new folders"
                ) from None

    def check_writable(self) -> None:
        """Check that the next checkpoint could be stored: that a file of its size can be written in each folder.

        Raises:
            OSError: it can't.
        """
        for folder in self._folders:
            write_atomic(folder / "witness.written", bytes(MAX_NOTE))

    def last(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint that was cosigned of the log *origin*; None if none was.

        Raises:
            ValueError: a file of it is damaged, two contradict each other, or both are older than they were.
            OSError: a file of it can't be read.
        """
        note = self.last_note(origin)
        return None if note is None else checkpoint.parse(note, extensible=True).checkpoint

    def last_note(self, origin: str) -> str | None:
        """Return the note of the last checkpoint that was cosigned of the log *origin*, with its cosignature.

        Raises:
            ValueError: a file of it is damaged, two contradict each other, or both are older than they were.
            OSError: a file of it can't be read.
        """
        known = self._known.get(origin)
        found: dict[int, tuple[Checkpoint, str]] = {}
        for path in (folder / _name(origin, "checkpoint") for folder in self._folders):
            if not path.exists():
                continue
            note = path.read_text("utf-8")
            parsed = checkpoint.parse(note, extensible=True).checkpoint
            if parsed.origin != origin:
                raise ValueError("the file is of another log")
            if found.setdefault(parsed.size, (parsed, note))[0] != parsed:
                raise ValueError("the files of both folders contradict each other")
        newest, text = found[max(found)] if found else (None, None)
        if known and (newest is None or newest.size < known.size or (newest.size == known.size and newest != known)):
            raise ValueError(f"the files no longer hold the checkpoint of {known.size} entries that was cosigned")
        if newest:
            self._known[origin] = newest
        return text

    def store(self, origin: str, note: str) -> None:
        """Store *note* as the last checkpoint of the log *origin*; it is on the disk when this returns.

        Raises:
            OSError: it could not be written.
        """
        for folder in self._folders:
            write_atomic(folder / _name(origin, "checkpoint"), note, durable=True)
        self._known[origin] = checkpoint.parse(note, extensible=True).checkpoint

    def store_evidence(self, origin: str, note: str) -> Path:
        """Store the first *note* by which the log *origin* contradicts a cosigned checkpoint; return its file.

        Raises:
            OSError: it could not be written.
        """
        paths = [folder / _name(origin, "contradiction") for folder in self._folders]
        for path in paths:
            if not path.exists():
                write_atomic(path, note, durable=True)
        return paths[0]


def _name(origin: str, ending: str) -> str:
    return f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.{ending}"
