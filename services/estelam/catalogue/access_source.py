"""Source of the access table: a TOML file, or a catalogue folder from which the table is derived."""

from collections.abc import Hashable
from pathlib import Path

from estelam.auth.grants import AccessTable
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import file_stamps, read_catalogue
from estelam.catalogue.model import Catalogue


class AccessSource:
    """Loads the grants and denials of *path*: a TOML file, or a folder that holds a catalogue."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.catalogue: Catalogue | None = None
        """The catalogue that the table last loaded was derived from; None for a TOML file."""

    def stamp(self) -> Hashable:
        """A value that differs once the file or a file of the folder has changed.

        Raises:
            OSError: the file does not exist or can't be examined.
        """
        return file_stamps(self._path) if self._path.is_dir() else self._path.stat().st_mtime_ns

    def load(self) -> AccessTable:
        """Read the whole table.

        Raises:
            AccessConfigError: a file can't be read or is invalid; `catalogue` stays as it was.
        """
        if not self._path.is_dir():
            table, self.catalogue = AccessTable.load(self._path), None
            return table
        catalogue = read_catalogue(self._path)
        table, self.catalogue = access_table(catalogue), catalogue
        return table
