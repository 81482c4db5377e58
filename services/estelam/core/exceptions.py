"""Errors for the operator of a command or a service. For those that a caller receives see `estelam.core.errors`."""

from collections.abc import Iterator
from contextlib import contextmanager


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
    texts that are not UTF-8, versions that do not exist. Whoever reads a file must name one error for all of them.

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
