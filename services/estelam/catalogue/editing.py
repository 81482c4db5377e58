"""Edit the catalogue's files as text: comments and every other line stay as they are.

A new record is appended to its file. A changed field is one line, replaced, added or removed. The edited files are
parsed before one is written, and must yield exactly the records that were meant: a file that is written in another
style than these edits expect is left as it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from estelam.catalogue.changes import KEY_FIELDS
from estelam.catalogue.loader import CatalogueState, parse_catalogue
from estelam.catalogue.model import FILES, Catalogue, Kind, Record
from estelam.core.exceptions import UserFacingError
from estelam.core.files import write_atomic


class EditError(UserFacingError):
    """A file of the catalogue can't be edited; none was written."""


@dataclass(frozen=True, slots=True)
class Addition:
    """A record to append to the file of its kind."""

    kind: Kind
    record: Record


@dataclass(frozen=True, slots=True)
class FieldChange:
    """New values of fields of the record *key*; a field whose value is None is removed."""

    kind: Kind
    key: str
    fields: Mapping[str, date | bool | str | None]


Edit = Addition | FieldChange


@dataclass(frozen=True, slots=True)
class EditedCatalogue:
    """A catalogue with edits that are not written yet."""

    folder: Path
    catalogue: Catalogue
    contents: Mapping[str, bytes]
    """The new content of each file that changes, by its name."""

    def write(self) -> None:
        """Replace each changed file, those that others refer to first.

        Raises:
            OSError: one can't be written; those before it are.
        """
        for file in FILES.values():
            if file in self.contents:
                write_atomic(self.folder / file, self.contents[file], durable=True)


def edited(folder: Path, state: CatalogueState, edits: Sequence[Edit]) -> EditedCatalogue:
    """Return the catalogue in *folder*, whose content is *state*, with *edits*; nothing is written.

    Raises:
        EditError: a file is written in a style that can't be edited here.
        CatalogueError: the edited catalogue would be invalid.
    """
    contents, meant = dict(state.contents), state.catalogue
    for edit in edits:
        file = FILES[edit.kind]
        try:
            text = contents[file].decode("utf-8")
            contents[file] = _edited_text(text, edit).encode()
        except ValueError as error:
            raise EditError(f"{folder / file}: can't be edited: {error}; edit it by hand") from None
        meant = _with_edit(meant, edit)
    found = parse_catalogue(folder, contents)
    if found != meant:
        names = ", ".join(sorted({FILES[edit.kind] for edit in edits}))
        raise EditError(f"{folder}: {names} is not written as it would have to be to be edited here; edit it by hand")
    changed = {file: raw for file, raw in contents.items() if raw != state.contents[file]}
    return EditedCatalogue(folder, found, changed)


def _with_edit(catalogue: Catalogue, edit: Edit) -> Catalogue:
    records = list(getattr(catalogue, edit.kind))
    if isinstance(edit, Addition):
        records.append(edit.record)
    else:
        for place, record in enumerate(records):
            if getattr(record, KEY_FIELDS[edit.kind]) == edit.key:
                given = {name: value for name, value in record if name in record.model_fields_set} | dict(edit.fields)
                kept = {name: value for name, value in given.items() if value is not None}
                records[place] = type(record).model_validate(kept)
    return catalogue.model_copy(update={edit.kind: records})


def _edited_text(text: str, edit: Edit) -> str:
    if isinstance(edit, Addition):
        return _appended(text, edit)
    lines = text.splitlines(keepends=True)
    begin, end = _block(lines, KEY_FIELDS[edit.kind], edit.key)
    block = lines[begin:end]
    for name, value in edit.fields.items():
        block = _with_field(block, name, value)
    return "".join([*lines[:begin], *block, *lines[end:]])


def _appended(text: str, edit: Addition) -> str:
    values = edit.record.model_dump(exclude_none=True, exclude_defaults=True)
    first, *others = [f"{name}: {_flow(value)}" for name, value in values.items()]
    block = "\n".join([f"  - {first}", *(f"    {line}" for line in others)])
    head = re.sub(rf"(?m)^{edit.kind}:[ \t]*\[[ \t]*\][ \t]*$", f"{edit.kind}:", text)
    return f"{head.rstrip()}\n{block}\n"


def _block(lines: Sequence[str], key: str, name: str) -> tuple[int, int]:
    """Return where the record begins whose first line states its *name*, and the line after its last."""
    first = re.compile(rf"  - {key}: {re.escape(name)}\s*(#.*)?")
    begins = [number for number, line in enumerate(lines) if first.fullmatch(line)]
    if len(begins) != 1:
        raise ValueError(f"no record begins with a line `  - {key}: {name}`")
    end = begins[0] + 1
    while end < len(lines) and lines[end].startswith("    "):
        end += 1
    return begins[0], end


def _with_field(block: Sequence[str], name: str, value: Any) -> list[str]:
    kept = [line for line in block if not line.startswith(f"    {name}:")]
    if value is None:
        return kept
    new = f"    {name}: {_flow(value)}\n"
    place = next((at for at, line in enumerate(block) if line.startswith(f"    {name}:")), len(kept))
    kept[-1] = kept[-1].rstrip("\n") + "\n"
    return [*kept[:place], new, *kept[place:]]


def _flow(value: Any) -> str:
    """Return *value* as YAML on one line."""
    text = yaml.safe_dump([value], allow_unicode=True, default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip()[1:-1]
