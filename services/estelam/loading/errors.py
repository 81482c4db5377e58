"""The error of a data file, in a module that imports no reader of data: bulk checks open their lists as loads do."""

from estelam.core.exceptions import UserFacingError


class LoadError(UserFacingError):
    """The file can't be read or loaded; nothing was changed. The message is for the operator."""
