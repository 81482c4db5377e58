"""The published baseline: the surface of every contract, and the sunsets that were announced to callers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from estelam.catalogue.model import Catalogue
from estelam.core import dates
from estelam.core.exceptions import UserFacingError, describe_error
from estelam.core.files import write_atomic

_END = "end "


class BaselineError(UserFacingError):
    """The baseline file is unusable; the message is for the person who makes the release."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What callers rely on. Each line of its file is a line of the surface, or `end METHOD DATE` for a sunset."""

    surface: frozenset[str]
    sunsets: Mapping[str, date]

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        """Read the baseline from *path*.

        Raises:
            BaselineError: the file can't be read, or a date is invalid.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
            sunsets = dict(line.removeprefix(_END).split(" ") for line in lines if line.startswith(_END))
            days = {method: dates.parse_date(day) for method, day in sunsets.items()}
        except OSError as error:
            raise BaselineError(describe_error(error)) from None
        except ValueError as error:
            raise BaselineError(f"{path}: {describe_error(error)}") from None
        return cls(frozenset(line for line in lines if line and not line.startswith(_END)), days)

    def write(self, path: Path) -> None:
        """Write the baseline to *path*, sorted."""
        sunsets = {f"{_END}{method} {day}" for method, day in self.sunsets.items()}
        write_atomic(path, "".join(f"{line}\n" for line in sorted(self.surface | sunsets)))

    def with_release(self, surface: Iterable[str], catalogue: Catalogue) -> "Baseline":
        """Return the baseline after a release with *surface* and *catalogue*."""
        announced = {name: method.sunset for name, _, method in catalogue.methods() if method.sunset}
        return Baseline(self.surface | set(surface), {**self.sunsets, **announced})
