"""Atomic, durable writes of files."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def open_atomic(
    path: Path,
    *,
    encoding: str | None = None,
    newline: str | None = None,
    durable: bool = False,
    mode: int | None = None,
) -> Iterator[IO[Any]]:
    """Open a draft in *path*'s folder; a clean exit renames it to *path*, an exception removes it.

    A reader of *path* finds the earlier file or the complete new one.

    Args:
        path: The file to create or replace.
        encoding: The encoding of a text file; None opens a binary file.
        newline: As for `open`; for text files only.
        durable: Return only after the file and its folder entry are on the disk.
        mode: The permissions of the new file. Without it, the permissions of the file that it replaces or, where there
            is none, those that the umask leaves.

    Raises:
        OSError: the file can't be written; *path* is unchanged and no draft is left.
    """
    path = path.resolve()  # a symbolic link stays one; its target is replaced
    draft = path.with_name(f".{secrets.token_hex(8)}.new")
    exact_mode = _permissions(path) if mode is None else mode
    descriptor = os.open(
        draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666 if exact_mode is None else 0o600
    )
    try:
        with os.fdopen(descriptor, "wb" if encoding is None else "w", encoding=encoding, newline=newline) as file:
            if exact_mode is not None:
                os.fchmod(descriptor, exact_mode)
            yield file
            file.flush()
            if durable:
                os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_atomic(path: Path, content: str | bytes, *, durable: bool = False, mode: int | None = None) -> None:
    """Create or replace *path* with *content* (text as UTF-8), as `open_atomic` does.

    Raises:
        OSError: the file can't be written; *path* is unchanged and no draft is left.
    """
    with open_atomic(path, durable=durable, mode=mode) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def sync_folder(folder: Path) -> None:
    """Return only after the entries of *folder* (names created, renamed or removed) are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _permissions(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
