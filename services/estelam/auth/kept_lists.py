"""Keeps which revocation list of each authority was the newest in force, so that no start takes an older one.

An authority that revokes a certificate publishes a new list. To put the list before it back in place, or to restore a
backup, would admit the certificate again until that list runs out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from estelam.core.addresses import beside
from estelam.core.clock import to_datetime, to_micros
from estelam.core.files import locked_folder, write_atomic
from estelam.core.model_files import MAX_FILE_BYTES, parse_json_model
from estelam.core.pem import KeyFileError
from estelam.core.settings import ServingSettings, StoreSettings

MAX_NUMBER_BITS = 160
"""RFC 5280, section 5.2.3: a CRL number has at most 20 octets."""


class ListPosition(NamedTuple):
    """The place of a list in the sequence of its authority's lists."""

    this_update_micros: int
    number: int | None
    """The CRL number (RFC 5280, section 5.2.3), if the list has one."""

    def is_before(self, other: "ListPosition") -> bool:
        """Whether the list is older than *other*, by its time or by its number."""
        has_lower_number = None not in (self.number, other.number) and (self.number or 0) < (other.number or 0)
        return self.this_update_micros < other.this_update_micros or has_lower_number

    def __str__(self) -> str:
        """Return the time and the number."""
        number = "" if self.number is None else f", number {self.number}"
        return f"{to_datetime(self.this_update_micros).isoformat()}{number}"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    authority: str
    """Its name, for people."""
    this_update: AwareDatetime
    number: Annotated[int, Field(ge=0, lt=1 << MAX_NUMBER_BITS)] | None = None


class _Entries(RootModel[dict[str, _Entry]]):
    """An entry for each authority, by the SHA-256 of its key."""


def kept_lists_path(settings: ServingSettings) -> Path | None:
    """Return the file in which the service keeps its newest lists; None if it keeps none."""
    beside_store = beside(settings.store, "revocation") if isinstance(settings, StoreSettings) else None
    return settings.kept_revocation_lists or beside_store


def read_kept(path: Path) -> Mapping[str, ListPosition]:
    """Return the newest list that was in force of each authority, by the SHA-256 of its key.

    Raises:
        KeyFileError: the file *path* is damaged.
        OSError: it can't be read.
    """
    return {key: ListPosition(to_micros(entry.this_update), entry.number) for key, entry in _read(path).root.items()}


def keep(path: Path, lists: Mapping[str, tuple[str, ListPosition]]) -> None:
    """Store *lists* in the file *path*, durably: names and positions, by the SHA-256 of the authority's key.

    What it holds of other authorities stays, and of these too if it is newer: several processes may store.

    Raises:
        KeyFileError: the file is damaged.
        OSError: it can't be written.
    """
    with locked_folder(path.parent):
        entries = dict((stored := _read(path)).root)
        kept = read_kept(path)
        for key, (name, position) in lists.items():
            if key not in kept or kept[key].is_before(position):
                this_update = to_datetime(position.this_update_micros)
                entries[key] = _Entry(authority=name, this_update=this_update, number=position.number)
        if entries != stored.root:
            write_atomic(path, _Entries(entries).model_dump_json(indent=2, exclude_none=True) + "\n", durable=True)


def _read(path: Path) -> _Entries:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return _Entries({})
    return parse_json_model(path, content, _Entries, KeyFileError, "file of kept revocation lists")
