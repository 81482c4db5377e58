"""Errors for the operator of a command or a service. For those that a caller receives see `estelam.core.errors`."""


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


def describe_error(error: Exception) -> str:
    """Return *error* as text for an operator: its path, if any, and the cause in words, without codes."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text"
    if not isinstance(error, OSError):
        return str(error)
    reason = getattr(error, "reason", None)  # ssl.SSLError has one, as KEY_VALUES_MISMATCH
    cause = reason.replace("_", " ") if isinstance(reason, str) else error.strerror or "input or output failed"
    return f"{error.filename}: {cause.lower()}" if error.filename is not None else cause.lower()
