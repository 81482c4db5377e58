"""Loads on every database: only differing rows are written, removed subjects are journaled, coverage stays correct."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from estelam.core.clock import Clock
from estelam.loading.feed import CoverageDeclaration, Feed, LoadError, LoadResult
from estelam.loading.load import load
from estelam.storage import coverage
from estelam.storage.coverage import Coverage
from estelam.storage.facts import former_subject_table
from estelam.storage.store import AccessMode, Store
from judiciary.cases import FIRST_DATE
from judiciary.feeds import CASES
from judiciary.repository import case_table
from promissory.feeds import MEMBERS, NOTES
from promissory.repository import member_table, note_table
from tests.conftest import both_engines
from tools.env.sandbox import Sandbox

pytestmark = both_engines

ABSENT = {"sayad_id", "beneficiary_name"}
"""Columns that the files lack."""
CIVIL = "CIVIL,2024-05-01,2024-05-01T09:30:00+03:30"
FIRST = f"1,{CIVIL},700,9990000050,DRAWER"
SECOND = f"2,{CIVIL},701,9990000069,DRAWER"
THIRD = f"3,{CIVIL},,9990000018,"
WHOLE = (FIRST, f"1,{CIVIL},700,99000237578,HOLDER", SECOND, THIRD)


@dataclass
class LoadedTable:
    """The facts of one service, and loads into them."""

    url: str
    folder: Path

    def load(self, feed: Feed, *rows: str, replace: bool = False, **claimed: Any) -> LoadResult:
        path = self.folder / "rows.csv"
        header = ",".join(name for name in feed.columns if name not in ABSENT)
        path.write_text("\n".join([header, *rows, ""]), "utf-8")
        with closing(Store(self.url, facts=AccessMode.WRITE)) as store:
            return load(
                store,
                feed,
                path,
                declaration=CoverageDeclaration(**claimed),
                first_date=FIRST_DATE,
                rejects=self.folder / "rejects.csv",
                clock=Clock(),
                progress=lambda _bytes: None,
                replace=replace,
            )

    def rows(self, table: Table, *columns: str) -> set[tuple[Any, ...]]:
        with closing(Store(self.url)) as store, store.transaction() as connection:
            found = connection.execute(select(*(table.c[name] for name in columns))).all()
        assert len(found) == len(set(found))
        return {tuple(row) for row in found}

    def changed(self) -> set[tuple[Any, ...]]:
        """Return each party of each case with the number of the load that changed it last."""
        return self.rows(case_table, "case_number", "national_id", "load_number")

    def former(self) -> set[tuple[Any, ...]]:
        return self.rows(former_subject_table, "load_number", "kind", "value")

    def coverage(self) -> Coverage | None:
        with closing(Store(self.url)) as store, store.transaction() as connection:
            return coverage.read_coverage(connection)

    def rejects(self) -> Sequence[str]:
        return (self.folder / "rejects.csv").read_text("utf-8").split()[1:]


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    """A table of three cases."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    assert register.load(CASES, *WHOLE).rows == 4
    return register


@pytest.fixture
def notes(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    return LoadedTable(sandbox.promissory().store, tmp_path)


def test_unchanged_rows_keep_their_load_number(cases: LoadedTable) -> None:
    """Rows loaded again unchanged keep the number of the load that wrote them."""
    before = cases.changed()

    cases.load(CASES, *WHOLE)

    assert before == cases.changed()
    assert {number for _, _, number in before} == {1}
    assert not cases.former()


def test_changed_case_is_replaced_and_journaled(
    cases: LoadedTable,
) -> None:
    """A changed case is replaced with all its parties, and its former subjects are journaled."""
    cases.load(CASES, FIRST.replace(",700,", ",799,"), FOURTH)

    assert cases.changed() == {("1", "9990000050", 2), ("2", "9990000069", 1), ("3", "9990000018", 1), ("4", "", 2)}
    assert cases.former() == {(2, "tracking", "700"), (2, "person", "9990000050"), (2, "person", "99000237578")}


FOURTH = f"4,{CIVIL},702,,"


def test_removed_party_is_deleted(
    cases: LoadedTable,
) -> None:
    """A party that a reloaded case no longer names is deleted; the others are unchanged."""
    cases.load(CASES, FIRST)

    assert cases.changed() == {("1", "9990000050", 1), ("2", "9990000069", 1), ("3", "9990000018", 1)}
    assert cases.former() == {(2, "tracking", "700"), (2, "person", "99000237578")}


def test_full_load_removes_missing_rows(cases: LoadedTable) -> None:
    """A full load removes the rows it lacks and touches only those that differ."""
    cases.load(CASES, SECOND, THIRD.replace("CIVIL", "CRIMINAL"), FOURTH, replace=True)

    assert cases.changed() == {("2", "9990000069", 1), ("3", "9990000018", 2), ("4", "", 2)}
    assert cases.former() == {
        (2, "tracking", "700"),
        (2, "person", "9990000050"),
        (2, "person", "99000237578"),
        (2, "person", "9990000018"),
    }


def test_empty_full_load_is_rejected(cases: LoadedTable) -> None:
    """A full load without rows is rejected; an incremental load without rows is accepted."""
    through = datetime(2026, 1, 1, tzinfo=UTC)

    with pytest.raises(LoadError, match="holds no row"):
        cases.load(CASES, replace=True)

    assert cases.load(CASES, through=through).rows == 0
    assert cases.coverage() == Coverage(FIRST_DATE, through)
    assert len(cases.changed()) == 4


def test_large_load_leaves_same_facts_and_indexes(cases: LoadedTable) -> None:
    """A load that is large compared with the table leaves the same facts and indexes as a small one."""
    many = [f"{n},{CIVIL},{n},9990000050,DRAWER" for n in range(1000, 2000)]

    cases.load(CASES, *many)
    cases.load(CASES, *many, *WHOLE)

    assert len(cases.changed()) == 1004
    with closing(Store(cases.url, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        for index in case_table.indexes:
            index.drop(connection)


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_contradicting_rows_reject_file(cases: LoadedTable, *, known: bool) -> None:
    """Contradicting rows are each reported, and reject the file."""
    first = "1" if known else "8"
    rows = [
        f"{first},{CIVIL},700,9990000050,DRAWER",
        f"9,{CIVIL},,9990000018,DRAWER",
        f"{first},{CIVIL},700,9990000050,DRAWER",
        f"9,{CIVIL},,9990000018,HOLDER",
        f"{first},{CIVIL},700,9990000050,DRAWER",
    ]
    before = cases.changed()

    assert cases.load(CASES, *rows).rejected == 2
    assert cases.rejects() == ["3,4,case_number,DUPLICATE", "5,6,case_number,DUPLICATE"]

    rows = [rows[0], rows[1], f"{first},{CIVIL},701,9990000069,DRAWER", f"9,{CIVIL},5,9990000069,HOLDER", FOURTH]
    assert cases.load(CASES, *rows).rejected == 2
    assert cases.rejects() == [
        "3,4,case_number,DIFFERS_FROM_AN_EARLIER_ROW",
        "4,5,case_number,DIFFERS_FROM_AN_EARLIER_ROW",
    ]
    assert before == cases.changed()


def test_contradicting_rows_reject_file_in_empty_table(sandbox: Sandbox, tmp_path: Path) -> None:
    """Contradicting rows are reported in a load into an empty table too."""
    empty = LoadedTable(sandbox.judiciary().store, tmp_path)

    assert empty.load(CASES, SECOND, FIRST, SECOND).rejected == 1
    assert empty.rejects() == ["3,4,case_number,DUPLICATE"]
    assert empty.load(CASES, SECOND, FIRST, f"1,{CIVIL},701,9990000069,DRAWER").rejected == 1
    assert empty.rejects() == ["3,4,case_number,DIFFERS_FROM_AN_EARLIER_ROW"]
    assert empty.load(CASES, SECOND, FIRST, SECOND, THIRD.replace("CIVIL", "LOST")).rejected == 2
    assert empty.rejects() == ["4,5,kind,NOT_A_KNOWN_WORD", "3,4,case_number,DUPLICATE"]
    assert not empty.changed()

    assert empty.load(CASES, SECOND, FIRST).rows == 2
    assert empty.changed() == {("1", "9990000050", 1), ("2", "9990000069", 1)}


def test_coverage_shrinks_only_by_full_load(cases: LoadedTable) -> None:
    """Coverage grows with any load, and shrinks only with a full load."""
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    start_of_1399 = date(2020, 3, 20)
    cases.load(CASES, FIRST, through=late)
    cases.load(CASES, FIRST, since=start_of_1399)
    covered = Coverage(start_of_1399, late)
    assert cases.coverage() == covered

    for back in ({"through": early}, {"since": FIRST_DATE}, {"since": FIRST_DATE, "through": late}):
        with pytest.raises(LoadError, match="only --replace may reduce it"):
            cases.load(CASES, FOURTH, **back)
        assert cases.coverage() == covered
    assert ("4", "", 3) not in cases.changed()

    cases.load(CASES, FIRST, replace=True, since=FIRST_DATE, through=early)
    assert cases.coverage() == Coverage(FIRST_DATE, early)


NOTE = (
    "1404000000000017,{state},9990000018,آرش,ساری,9906131315,99000554330,99000554330,شرکت,قم,9902036933,"
    "2500000000,2500000000,2025-04-15,{due},بانک"
)


def test_changed_note_is_replaced_and_journaled(notes: LoadedTable) -> None:
    """A changed note is replaced, and its serial is journaled."""
    notes.load(NOTES, NOTE.format(state="ISSUED", due="2027-04-15"))
    notes.load(NOTES, NOTE.format(state="ISSUED", due="2027-04-15"))
    notes.load(NOTES, NOTE.format(state="ISSUED", due=""))
    notes.load(NOTES, NOTE.format(state="SETTLED", due=""))

    assert notes.rows(note_table, "serial", "state", "due_on", "load_number") == {
        ("1404000000000017", "SETTLED", None, 4)
    }
    assert notes.former() == {(3, "serial", "1404000000000017"), (4, "serial", "1404000000000017")}


def test_agencies_are_always_a_full_load(notes: LoadedTable) -> None:
    """The list of member agencies is always a full load."""
    notes.load(MEMBERS, "A,الف", "B,ب")
    notes.load(MEMBERS, "B,ب", "C,پ")

    assert notes.rows(member_table, "agency_id", "name", "load_number") == {("B", "ب", 1), ("C", "پ", 2)}
    assert not notes.former()


def test_concurrent_load_is_rejected(cases: LoadedTable) -> None:
    """Of two concurrent loads one is rejected with the advice to wait."""
    with closing(Store(cases.url, facts=AccessMode.WRITE)) as store, store.transaction():  # noqa: SIM117
        with pytest.raises(LoadError, match="the store can't be written"):
            cases.load(CASES, FOURTH)
    assert cases.load(CASES, FOURTH).rows == 1
