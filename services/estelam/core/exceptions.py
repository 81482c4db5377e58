"""Errors for the operator of a command or a service. For those that a caller receives see `estelam.core.errors`."""


class UserFacingError(Exception):
    """A file, a setting or a store can't be used, or a command can't be carried out.

    The text says what is wrong, where, and what to do; a command prints it on one line, without a stack trace.
    """


class ServerError(UserFacingError):
    """The server can't start."""


def describe_os_error(error: OSError) -> str:
    """Return *error* as text for an operator: its path, if any, and the cause in words, without the number."""
    cause = (error.strerror or "input or output failed").lower()
    return f"{error.filename}: {cause}" if error.filename is not None else cause
