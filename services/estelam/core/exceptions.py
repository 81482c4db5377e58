"""Errors for the operator of a command or a service. For those that a caller receives see `estelam.core.errors`."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

DISK_FULL = "the disk is full"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, "SQLITE_FULL", "53100"})
"""The codes of the operating system, of SQLite and of PostgreSQL."""


class UserFacingError(Exception):
    """A file, a setting or a store can't be used, or a command can't be carried out.

    The text says what is wrong, where, and what to do; a command prints it on one line, without a stack trace.
    """


class UsageError(UserFacingError):
    """A command can't use an argument or option as it is given: nothing was asked, looked up or written. Exit code 2.

    An empty result for a name that nothing has, or a file overwritten without --force, would mislead or destroy.
    """


class ServerError(UserFacingError):
    """The server can't start."""


@contextmanager
def named_error(error: type[UserFacingError], text: str) -> Iterator[None]:
    """Raise *error* with *text* for whatever the content of a file makes its parser raise.

    Parsers document few of the errors that they raise for a damaged file: numbers of too many digits, nesting too deep,
    texts that are not UTF-8, versions that do not exist. The reader of a file must name one error for all of them.

    Raises:
        error: The block raised another error than UserFacingError and OSError.
    """
    try:
        yield
    except (UserFacingError, OSError):
        raise
    except Exception as fault:
        raise error(text) from fault


def describe_error(error: Exception) -> str:
    """Return *error* as text for an operator: its path, if any, and the cause in words, without codes."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    if not isinstance(error, OSError):
        return str(error)
    reason = getattr(error, "reason", None)  # ssl.SSLError has one, as KEY_VALUES_MISMATCH
    cause = reason.replace("_", " ") if isinstance(reason, str) else error.strerror or "input or output failed"
    return f"{error.filename}: {cause.lower()}" if error.filename is not None else cause.lower()


def problem(error: Exception) -> str:
    """Return what a log may say of *error* beside its type.

    That is the text of our own errors, the cause in the system's, or the code of a database's. The texts of others may
    quote what they are about, and are left out.
    """
    cause = getattr(error, "orig", None) or error  # the database driver's own error, under SQLAlchemy's
    code = getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or getattr(cause, "errno", None)
    if code in _FULL:
        return DISK_FULL
    if isinstance(error, UserFacingError | OSError | UnicodeDecodeError):
        return describe_error(error)
    return code if isinstance(code, str) else "unknown"
