"""Edits of the catalogue's files change what was meant and nothing else, or no file at all."""

from datetime import date
from pathlib import Path

import pytest

from estelam.catalogue.editing import Addition, Edit, EditError, FieldChange, edited
from estelam.catalogue.loader import CatalogueError, read_catalogue, read_state
from estelam.catalogue.model import Denied, Grant, Party
from tests.unit.catalogue.conftest import Edit as Replace

DAY = date(2026, 12, 1)
SINCE, QUOTA = "    since:", "    quota: { rate: 200"
HARD = 'no: "yes" # not a comment, \\ and [this]'
PARTY = Party(slug="sample-bank", fa="بانک: نمونه", en=HARD, roles=["consumer"], legal_id="99000079195")
GRANT = Grant(
    id="G25",
    clause="R2.1",
    consumer="setad",
    service="tax-debt",
    since=DAY,
    staged=True,
    note="2026-12-01",
)
DENIED = Denied(key="ab" * 32, party="setad", reason="null")


@pytest.mark.parametrize(
    ("edit", "file", "removed"),
    [
        (Addition("parties", PARTY), "parties.yaml", []),
        (Addition("grants", GRANT), "grants.yaml", []),
        (Addition("denied", DENIED), "certificates.yaml", ["denied: []"]),
        (FieldChange("grants", "G13", {"until": DAY}), "grants.yaml", []),
        (FieldChange("grants", "G21", {"until": DAY}), "grants.yaml", []),
        (
            FieldChange("grants", "G13", {"since": DAY, "note": HARD}),
            "grants.yaml",
            ["    since: 2021-08-24"],
        ),
        (FieldChange("grants", "G14", {"note": None}), "grants.yaml", ["    note: "]),
    ],
)
def test_other_lines_stay(folder: Path, edit: Edit, file: str, removed: list[str]) -> None:
    """An edit adds or replaces lines of its own record; every other line, comments too, stays as it is."""
    before = (folder / file).read_text("utf-8").splitlines()

    new = edited(folder, read_state(folder), [edit])
    new.write()

    after = (folder / file).read_text("utf-8").splitlines()
    gone = [line for line in before if line not in after or after.count(line) < before.count(line)]
    assert len(removed) == len(set(gone))
    assert all(any(line.startswith(start) for start in removed) for line in gone)
    assert [file] == list(new.contents)
    assert new.catalogue == read_catalogue(folder)


def test_added_records_read_back(folder: Path) -> None:
    """A record is read back as it was added, whatever characters its texts have."""
    edits = [Addition("parties", PARTY), Addition("grants", GRANT), Addition("denied", DENIED)]
    edited(folder, read_state(folder), edits).write()

    found = read_catalogue(folder)

    assert (PARTY, GRANT, [DENIED]) == (found.parties[-1], found.grants[-1], found.denied)


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("  - id: G13\n    clause: R2.1\n", "  - clause: R2.1\n    id: G13\n", {"until": DAY}),
        (f"{SINCE} 2021-08-24\n{QUOTA}", f"{SINCE}\n      2021-08-24\n{QUOTA}", {"since": DAY}),
        ("  - id: G13\n", "  - id: G13\n    until: 1410-01-01 \n    note: >\n      until: words\n", {"note": None}),
    ],
)  # fmt: skip
def test_other_styles(folder: Path, edit: Replace, old: str, new: str, change: dict[str, date | None]) -> None:
    """A record in a style that an edit would misread is refused, and no file is written."""
    edit("grants.yaml", old, new)
    before = (folder / "grants.yaml").read_bytes()

    with pytest.raises((EditError, CatalogueError)):
        edited(folder, read_state(folder), [FieldChange("grants", "G13", change)]).write()

    assert before == (folder / "grants.yaml").read_bytes()


def test_invalid_result(folder: Path) -> None:
    """An edit that would make the catalogue invalid is refused before any file is written."""
    edits = [Addition("parties", PARTY), Addition("grants", GRANT.model_copy(update={"id": "G13"}))]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(CatalogueError, match="G13 is used twice"):
        edited(folder, read_state(folder), edits).write()

    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
