"""Source of the access table: a TOML file, or a catalogue folder from which the table is derived."""

from collections.abc import Sequence
from pathlib import Path

from estelam.auth.grants import AccessTable
from estelam.catalogue.approval import ApprovalRule
from estelam.catalogue.change_file import ChangeFileError
from estelam.catalogue.effective_grants import access_table
from estelam.catalogue.loader import catalogue_files, read_state
from estelam.catalogue.model import Catalogue
from estelam.core.settings import ServingSettings


class AccessSource:
    """Loads the grants and denials of *path*: a TOML file, or a folder that holds a catalogue.

    With *rule*, it takes only a catalogue whose changes are approved.
    """

    def __init__(self, path: Path, rule: ApprovalRule | None = None) -> None:
        self._path = path
        self._rule = rule
        self.catalogue: Catalogue | None = None
        """The catalogue that the table last loaded was derived from; None for a TOML file."""

    @classmethod
    def of(cls, settings: ServingSettings, *, keeps: bool = True) -> "AccessSource":
        """Return the source that *settings* name, which keeps the newest approved change in force if *keeps* is set."""
        return cls(settings.access, ApprovalRule.of(settings, keeps=keeps))

    def files(self) -> Sequence[Path]:
        """The files that the table depends on."""
        if not self._path.is_dir():
            return [self._path]
        return [*catalogue_files(self._path), *(self._rule.files(self._path) if self._rule else ())]

    def load(self) -> AccessTable:
        """Read the whole table.

        Raises:
            AccessConfigError: a file can't be read or is invalid, or the catalogue is not approved as the rule demands;
                `catalogue` stays as it was.
            OSError: the newest approved change can't be kept.
        """
        if not self._path.is_dir():
            if self._rule:
                raise ChangeFileError(
                    f"{self._path}: is an access table, which nobody can approve; name the folder of a catalogue, or"
                    " remove access_approvers"
                )
            table, self.catalogue = AccessTable.load(self._path), None
            return table
        state = read_state(self._path)
        if self._rule:
            self._rule.check(self._path, state.digest)
        catalogue = state.catalogue
        table, self.catalogue = access_table(catalogue), catalogue
        return table
