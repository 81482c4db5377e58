"""Atomic, durable writes of files, and files that only their owner may read."""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700
"""The permissions of what holds personal data or secrets, whatever the umask."""


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

    A reader of *path* finds the earlier file or the complete new one. Where root replaces a file, its owner stays.

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
    replaced = _stat(path)
    exact_mode = replaced.st_mode & 0o777 if replaced and mode is None else mode
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, 0o666 if exact_mode is None else PRIVATE_FILE)
    except OSError as error:
        error.filename = str(path)  # not that of the draft, which nobody named
        raise
    try:
        with os.fdopen(descriptor, "wb" if encoding is None else "w", encoding=encoding, newline=newline) as file:
            if exact_mode is not None:
                os.fchmod(descriptor, exact_mode)
            if replaced and os.geteuid() == 0:
                os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
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


def open_regular(path: Path) -> IO[bytes]:
    """Open the regular file *path* to read: never one that blocks, or that has no end.

    Raises:
        OSError: it can't be opened, or is a pipe, a device or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for its writer
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file; write its content to one first", str(path))
    return os.fdopen(descriptor, "rb")


def sync_folder(folder: Path) -> None:
    """Return only after the entries of *folder* (names created, renamed or removed) are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a lock on *folder*, which one process and thread at a time can have.

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create_private_folder(folder: Path) -> None:
    """Create *folder* with PRIVATE_FOLDER, and what it is in by the umask, unless it exists.

    Raises:
        OSError: it can't be created.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(PRIVATE_FOLDER)


def make_private(path: Path) -> None:
    """Take from the file *path*, if it exists, the permissions that PRIVATE_FILE lacks. It is not opened.

    Raises:
        OSError: it is another user's, or can't be changed.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_mode & 0o7777 & ~PRIVATE_FILE:
            path.chmod(PRIVATE_FILE)


def create_private_file(path: Path) -> None:
    """Create the empty file *path* with PRIVATE_FILE, unless it exists.

    Raises:
        OSError: it can't be created.
    """
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            os.fchmod(descriptor, PRIVATE_FILE)
        finally:
            os.close(descriptor)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
