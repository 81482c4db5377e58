"""What has been published: the facts of every contract, and the sunsets that callers were told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estelam.catalogue.model import Catalogue
from estelam.core.exceptions import UserFacingError

_END = "end "


class BaselineError(UserFacingError):
    """The file can't be used; the text is for who releases."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One fact a line in its file: what a contract holds, or `end METHOD DAY`."""

    surface: frozenset[str]
    sunsets: Mapping[str, date]

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        """What *path* says.

        Raises:
            PublishedError: it can't be read, or a day in it is none.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
            ends = dict(line.removeprefix(_END).split(" ") for line in lines if line.startswith(_END))
            days = {method: date.fromisoformat(day) for method, day in ends.items()}
        except (OSError, ValueError) as error:
            raise BaselineError(f"{path}: {error}") from None
        return cls(frozenset(line for line in lines if line and not line.startswith(_END)), days)

    def write(self, path: Path) -> None:
        """Write it to *path*, sorted."""
        ends = {f"{_END}{method} {day}" for method, day in self.sunsets.items()}
        path.write_text("".join(f"{line}\n" for line in sorted(self.surface | ends)), "utf-8")

    def with_release(self, facts: Iterable[str], catalogue: Catalogue) -> "Baseline":
        """What is published once a release with *facts* and *catalogue* is out."""
        told = {name: method.sunset for name, _, method in catalogue.methods() if method.sunset}
        return Baseline(self.surface | set(facts), {**self.sunsets, **told})
