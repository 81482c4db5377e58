"""The rule that a service takes a catalogue only if two different approvers have signed its change.

The approvers' public keys are in the settings, not in the catalogue: who can edit the catalogue can't approve. The
service keeps which change was the newest in force, so that an older state with its genuine change file is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from estelam.catalogue.change_file import (
    MAX_NUMBER,
    NEEDED,
    ChangeFileError,
    SignedChange,
    change_numbers,
    change_path,
    read_change,
)
from estelam.core.addresses import beside
from estelam.core.files import locked_folder, write_atomic
from estelam.core.model_files import MAX_FILE_BYTES, parse_json_model
from estelam.core.note_keys import KeyKind, NoteKey
from estelam.core.settings import Fingerprint, ServingSettings, StoreSettings


class Position(NamedTuple):
    """A state of the catalogue that was in force: the change that led to it, and its digest."""

    number: int
    digest: str


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Annotated[int, Field(ge=1, le=MAX_NUMBER)]
    digest: Fingerprint


@dataclass
class ApprovalRule:
    """Checks that a catalogue is covered by approved changes, from the one that was in force before.

    Args:
        approvers: The keys of the people who may approve.
        kept: The file that keeps the newest change in force; None for this process alone.
        keeps: Whether that file is written; it is read in any case.
    """

    approvers: Sequence[NoteKey]
    kept: Path | None
    keeps: bool = True
    _newest: Position | None = None

    @classmethod
    def of(cls, settings: ServingSettings, *, keeps: bool = True) -> "ApprovalRule | None":
        """Return the rule that *settings* demand, or None."""
        if not settings.access_approvers:
            return None
        keys = [NoteKey.parse(text, KeyKind.NOTE) for text in settings.access_approvers]
        return cls(keys, kept_access_path(settings), keeps)

    def files(self, folder: Path) -> list[Path]:
        """Return the change files of the catalogue in *folder*."""
        return [change_path(folder, number) for number in change_numbers(folder)]

    def check(self, folder: Path, digest: str) -> None:
        """Check that the catalogue in *folder*, with this *digest*, may be in force, and keep that it is.

        1. The newest change leads to this state, and two different approvers have signed it.
        2. It is not before the newest change that was in force; the same one leads to the same state.
        3. So have two signed each change between, and each begins where the one before it ends.

        Raises:
            ChangeFileError: it may not, or what was kept can't be read.
            OSError: it can't be kept.
        """
        if not (numbers := change_numbers(folder)):
            raise ChangeFileError(f"{folder}: no change file approves it; run: estelam catalogue approve")
        newest, before = self._approved(folder, numbers[-1]), self._last()
        if newest.change.after != digest:
            raise ChangeFileError(
                f"{folder}: is not the state that change {numbers[-1]} approves: its digest is {digest}, not"
                f" {newest.change.after}; put that state back, or approve this one: estelam catalogue approve"
            )
        if before is not None:
            self._check_continues(folder, before, Position(numbers[-1], digest))
        self._keep(Position(numbers[-1], digest))

    def _check_continues(self, folder: Path, before: Position, newest: Position) -> None:
        if newest.number < before.number:
            raise ChangeFileError(
                f"{folder}: ends with change {newest.number}, but change {before.number} was in force already: an older"
                " state was put back; to return to it, approve it as a new change"
            )
        if newest.number == before.number and newest.digest != before.digest:
            raise ChangeFileError(f"{folder}: another change {before.number} than this one was in force before")
        digest = before.digest
        for number in range(before.number + 1, newest.number + 1):
            change = self._approved(folder, number).change
            if change.before != digest:
                raise ChangeFileError(
                    f"{change_path(folder, number)}: changes another state than the one of change {number - 1}:"
                    f" {change.before}, not {digest}"
                )
            digest = change.after

    def _approved(self, folder: Path, number: int) -> SignedChange:
        signed = read_change(folder, number)
        found = signed.approvers(self.approvers)
        if len(found) < NEEDED:
            names = ", ".join(found) or "none"
            raise ChangeFileError(
                f"{change_path(folder, number)}: needs {NEEDED} different approvers of the settings, and has"
                f" {len(found)}: {names}"
            )
        return signed

    def _last(self) -> Position | None:
        kept = read_kept(self.kept) if self.kept else None
        return max((each for each in (kept, self._newest) if each), default=None, key=lambda each: each.number)

    def _keep(self, position: Position) -> None:
        if self.keeps and self.kept:
            with locked_folder(self.kept.parent):
                # Several processes keep; another may have taken a later change meanwhile.
                if (stored := read_kept(self.kept)) is None or stored.number < position.number:
                    content = _Kept(number=position.number, digest=position.digest).model_dump_json(indent=2)
                    write_atomic(self.kept, f"{content}\n", durable=True)
        self._newest = position


def kept_access_path(settings: ServingSettings) -> Path | None:
    """Return the file in which the service keeps the newest change in force; None if it keeps none."""
    return settings.kept_access or (beside(settings.store, "access") if isinstance(settings, StoreSettings) else None)


def read_kept(path: Path) -> Position | None:
    """Return the newest change that was in force; None if there is no file yet.

    Raises:
        ChangeFileError: the file *path* is damaged.
        OSError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    found = parse_json_model(path, content, _Kept, ChangeFileError, "file of the kept change of the catalogue")
    return Position(found.number, found.digest)
