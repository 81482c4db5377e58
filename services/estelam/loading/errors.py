"""The error of a data file, in a module that imports no reader of data: bulk checks open their lists as loads do."""

from pathlib import Path

from estelam.core.exceptions import UserFacingError


class LoadError(UserFacingError):
    """The file can't be read or loaded; nothing was changed. The message is for the operator."""

    def about(self, path: Path) -> "LoadError":
        """Return this error with a message that begins with the file *path*, or with one that belongs to it."""
        return self if str(self).startswith(str(path)) else LoadError(f"{path}: {self}")
