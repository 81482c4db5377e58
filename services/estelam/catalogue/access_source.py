"""Source of the access table: a TOML file, or a catalogue folder from which the table is derived."""

from collections.abc import Sequence
from pathlib import Path

from estelam.auth.grants import AccessTable
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import catalogue_files, read_catalogue
from estelam.catalogue.model import Catalogue


class AccessSource:
    """Loads the grants and denials of *path*: a TOML file, or a folder that holds a catalogue."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.catalogue: Catalogue | None = None
        """The catalogue that the table last loaded was derived from; None for a TOML file."""

    def files(self) -> Sequence[Path]:
        """The files that the table depends on."""
        return catalogue_files(self._path) if self._path.is_dir() else [self._path]

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
