"""Loads on every database: only differing rows are written, removed subjects are journaled, changes are counted."""

from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from development.sandbox import Sandbox
from estelam.core.parties import Parties
from estelam.loading import csv_reader
from estelam.loading.errors import LoadError
from estelam.loading.feed import Changes
from estelam.storage.coverage import Coverage
from estelam.storage.store import AccessMode, Store
from judiciary.feeds import CASES
from judiciary.repository import FIRST_DATE, case_table
from promissory.feeds import MEMBERS, NOTES
from promissory.repository import member_table, note_table
from tests.conftest import both_engines_in_full
from tests.integration.storage.loaded_table import CIVIL, FIRST, FOURTH, SECOND, START, THIRD, WHOLE, LoadedTable

pytestmark = both_engines_in_full


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    """A table of three cases."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    assert register.load(CASES, *WHOLE, whole=True).changes == Changes(added=4, changed=0, unchanged=0, removed=0)
    return register


@pytest.fixture
def notes(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    return LoadedTable(sandbox.promissory().store, tmp_path)


def test_unchanged_rows_keep_their_load_number(cases: LoadedTable) -> None:
    """Rows loaded again unchanged keep the number of the load that wrote them."""
    before = cases.changed()

    result = cases.load(CASES, *reversed(WHOLE), policy={"allow_known_content": True})

    assert result.changes == Changes(added=0, changed=0, unchanged=4, removed=0)
    assert before == cases.changed()
    assert {number for _, _, number in before} == {1}
    assert not cases.former()


def test_statistics_follow_large_changes(cases: LoadedTable) -> None:
    """Only a load that changes much makes PostgreSQL's statistics anew, which takes long in a large table."""
    statements: list[str] = []
    many = [f"{number},{CIVIL},{number},," for number in range(100, 140)]

    def analyzed(*rows: str) -> int:
        statements.clear()
        cases.load(CASES, *rows)
        return statements.count("ANALYZE facts.cheque_case")

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        found = [analyzed(*many), analyzed(FOURTH), analyzed(*(row.replace("CIVIL", "CRIMINAL") for row in many))]
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert found == ([1, 0, 1] if cases.url.startswith("postgresql") else [0, 0, 0])


def test_changed_case_is_replaced_and_journaled(cases: LoadedTable) -> None:
    """A changed case is replaced with all its parties, and its former subjects are journaled."""
    result = cases.load(CASES, FIRST.replace(",700,", ",799,"), FOURTH)

    assert result.changes == Changes(added=1, changed=1, unchanged=0, removed=1, parties_dropped=1)
    assert cases.changed() == {("1", "9990000050", 2), ("2", "9990000069", 1), ("3", "9990000018", 1), ("4", "", 2)}
    assert cases.former() == {(2, "tracking", "700"), (2, "person", "9990000050"), (2, "person", "99000237578")}


def test_removed_party_is_deleted(cases: LoadedTable) -> None:
    """A party that a file which replaces parties no longer names is deleted and counted; the others are unchanged."""
    result = cases.load(CASES, FIRST)

    assert result.changes == Changes(added=0, changed=0, unchanged=1, removed=1, parties_dropped=1)
    assert cases.changed() == {("1", "9990000050", 1), ("2", "9990000069", 1), ("3", "9990000018", 1)}
    assert cases.former() == {(2, "tracking", "700"), (2, "person", "99000237578")}


@pytest.mark.parametrize("declared", [Parties.MERGED, None], ids=["declared", "by default"])
def test_merged_parties_are_kept(cases: LoadedTable, declared: Parties | None) -> None:
    """A file that merges parties removes none, whichever file of a case comes first."""
    result = cases.load(CASES, f"1,{CIVIL},700,9990000018,ENDORSER", f"3,{CIVIL},,9990000026,DRAWER", parties=declared)

    assert result.changes == Changes(added=2, changed=0, unchanged=0, removed=0, cases_of_several_files=2)
    assert cases.rows(case_table, "case_number", "national_id", "role", "load_number") == {
        ("1", "9990000050", "DRAWER", 1),
        ("1", "99000237578", "HOLDER", 1),
        ("1", "9990000018", "ENDORSER", 2),
        ("2", "9990000069", "DRAWER", 1),
        ("3", "9990000018", "", 1),
        ("3", "9990000026", "DRAWER", 2),
    }
    assert not cases.former()


@pytest.mark.parametrize("dry_run", [False, True])
def test_cases_of_several_files_are_counted(cases: LoadedTable, *, dry_run: bool) -> None:
    """A load counts the cases that keep parties of earlier files beside those that it adds, and no others."""

    def count(*rows: str, parties: Parties = Parties.MERGED) -> int:
        result = cases.load(CASES, *rows, parties=parties, policy={"dry_run": dry_run})
        return result.changes.cases_of_several_files if result.changes else 0

    corrected = FIRST.replace("9990000050", "9990000069")
    assert 1 == count(corrected, FOURTH)
    assert 0 == count(FIRST.replace("2024-05-01,", "2024-05-02,"), FOURTH)
    assert 0 == count(f"8,{CIVIL},708,9990000050,DRAWER", FOURTH.replace("702", "703"))
    assert 0 == count(corrected, parties=Parties.REPLACED)


def test_merged_parties_get_the_facts_of_the_case(cases: LoadedTable) -> None:
    """A file that merges parties changes the case for those that it does not name too."""
    result = cases.load(CASES, f"1,{CIVIL},799,9990000018,ENDORSER", parties=Parties.MERGED)

    assert result.changes == Changes(added=1, changed=2, unchanged=0, removed=0, cases_of_several_files=1)
    assert cases.rows(case_table, "case_number", "tracking_id", "national_id", "load_number") >= {
        ("1", "799", "9990000050", 2),
        ("1", "799", "99000237578", 2),
        ("1", "799", "9990000018", 2),
    }
    assert cases.former() == {(2, "tracking", "700"), (2, "person", "9990000050"), (2, "person", "99000237578")}


def test_whole_file_removes_missing_rows(cases: LoadedTable) -> None:
    """A whole file removes the rows it lacks and touches only those that differ."""
    result = cases.load(CASES, SECOND, THIRD.replace("CIVIL", "CRIMINAL"), FOURTH, whole=True)

    assert result.changes == Changes(added=1, changed=1, unchanged=1, removed=2)
    assert cases.changed() == {("2", "9990000069", 1), ("3", "9990000018", 2), ("4", "", 2)}
    assert cases.former() == {
        (2, "tracking", "700"),
        (2, "person", "9990000050"),
        (2, "person", "99000237578"),
        (2, "person", "9990000018"),
    }


def test_whole_file_leaves_the_rows_of_other_feeds(cases: LoadedTable) -> None:
    """A whole file removes only rows of its own feed."""
    cases.load(CASES, FOURTH, f"5,{CIVIL},703,,", feed="court-b", whole=True)

    result = cases.load(CASES, FOURTH, feed="court-b", whole=True)

    assert result.changes == Changes(added=0, changed=0, unchanged=1, removed=1)
    assert {number for number, *_ in cases.changed()} == {"1", "2", "3", "4"}


def test_the_limit_of_changes_is_a_share_of_the_rows_of_the_feed(cases: LoadedTable) -> None:
    """A small feed that was cut off is refused however many rows other feeds have."""
    limit = {"change_limit": 0.01, "required_feeds": ("cases", "court-b")}
    small = [f"{n},{CIVIL},{n},9990000018,DRAWER" for n in range(100, 140)]
    cases.load(CASES, *(f"{n},{CIVIL},{n},9990000050,DRAWER" for n in range(1000, 5000)), policy=limit)
    cases.load(CASES, *small, feed="court-b", whole=True, policy=limit)

    with pytest.raises(LoadError, match="change 0 and remove 39 of 40 stored rows of the feed, more than 1 %"):
        cases.load(CASES, small[0], feed="court-b", whole=True, policy=limit)
    changed = [row.replace("CIVIL", "CRIMINAL") for row in small[:39]]
    with pytest.raises(LoadError, match="change 39 and remove 0 of 40 stored rows of the feed, more than 1 %"):
        cases.load(CASES, *changed, feed="court-b", policy=limit)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_rows_of_records_of_another_feed_are_rejected(cases: LoadedTable, *, whole: bool, dry_run: bool) -> None:
    """A record belongs to the feed that delivered it: no file of another feed changes, adds to or removes it."""
    cases.load(CASES, f"6,{CIVIL},704,,", feed="court-b", whole=True)
    before = cases.changed()
    rows = (f"6,{CIVIL},704,,", FIRST, f"1,{CIVIL},700,9990000018,ENDORSER", FOURTH)

    result = cases.load(CASES, *rows, feed="court-b", whole=whole, policy={"dry_run": dry_run})

    assert (result.rejected, result.changes) == (2, None)
    assert cases.rejects() == ["2,3,case_number,OTHER_FEED", "3,4,case_number,OTHER_FEED"]
    assert before == cases.changed()


def test_a_record_stays_with_its_feed_when_it_is_changed(cases: LoadedTable) -> None:
    """A record that its feed has changed is still rejected in another feed's file; one that it has removed is not."""
    cases.load(CASES, FIRST.replace(",700,", ",799,"), SECOND, whole=True)

    assert cases.load(CASES, SECOND, FIRST, feed="court-b", whole=True).rejected == 2
    assert cases.load(CASES, THIRD, feed="court-b", whole=True).changes == Changes(1, 0, 0, 0)


@pytest.mark.parametrize("whole", [True, False])
def test_records_are_taken_over(cases: LoadedTable, *, whole: bool) -> None:
    """A load that takes over a feed moves those of its records that the file has, and leaves the others to it."""
    taken_over: dict[str, Any] = {"feed": "court-b", "whole": whole, "policy": {"taken_feed": "cases"}}
    taken_over |= {"complete_since": FIRST_DATE} if whole else {}

    result = cases.load(CASES, FIRST, SECOND, FOURTH, **taken_over)

    assert result.changes == Changes(added=1, changed=0, unchanged=2, removed=1, parties_dropped=1, taken_over=3)
    assert cases.changed() == {("1", "9990000050", 2), ("2", "9990000069", 2), ("3", "9990000018", 1), ("4", "", 2)}
    assert cases.load(CASES, FIRST).rejected == 1
    assert cases.load(CASES, THIRD, whole=True).changes == Changes(added=0, changed=0, unchanged=1, removed=0)


def test_only_a_feed_of_the_same_kind_is_taken_over(cases: LoadedTable, notes: LoadedTable) -> None:
    """A load takes over another loaded feed of its kind; any other name is refused with those it may be."""
    cases.load(CASES, FOURTH, feed="court-b", whole=True)
    for name in ("cases", "court-c"):
        with pytest.raises(LoadError, match=rf"--take-over {name}: the feeds it may name are court-b$"):
            cases.load(CASES, FIRST, policy={"taken_feed": name})
    notes.load(MEMBERS, "A,الف")
    with pytest.raises(LoadError, match=r"--take-over members: the feeds it may name are none$"):
        notes.load(NOTES, NOTE.format(state="ISSUED", due=""), policy={"taken_feed": "members"})


def test_taken_rows_count_in_the_base_of_the_limit(cases: LoadedTable) -> None:
    """The rows that a file takes over are rows of its feed: the share that it may change is one of them too."""
    rows = [f"{n},{CIVIL},{n},9990000050,DRAWER" for n in range(1000, 4000)]
    cases.load(CASES, *rows)
    limited: dict[str, Any] = {"feed": "court-b", "policy": {"taken_feed": "cases", "change_limit": 0.01}}

    with pytest.raises(LoadError, match="would change 31 and remove 0 of 3,000 "):
        cases.load(CASES, *(row.replace("CIVIL", "CRIMINAL") for row in rows[:31]), *rows[31:], **limited)
    taken = cases.load(CASES, *(row.replace("CIVIL", "CRIMINAL") for row in rows[:30]), *rows[30:], **limited)

    assert taken.changes == Changes(added=0, changed=30, unchanged=2970, removed=0, taken_over=3000)


def test_empty_whole_file_is_refused(cases: LoadedTable) -> None:
    """A whole file without rows is refused; a file of changes without rows says that nothing has changed."""
    with pytest.raises(LoadError, match="holds no row"):
        cases.load(CASES, whole=True)

    assert cases.load(CASES).rows == 0
    assert cases.load(CASES).rows == 0
    assert cases.coverage() == Coverage(FIRST_DATE, START + timedelta(hours=cases.hours))
    assert len(cases.changed()) == 4


@pytest.mark.parametrize("whole", [True, False])
def test_dry_run_changes_nothing(cases: LoadedTable, *, whole: bool) -> None:
    """A dry run reports what the load changes, and leaves neither a change nor a file."""
    rows = (SECOND.replace("CIVIL", "CRIMINAL"), FIRST, FOURTH)
    before = cases.changed(), cases.loads(), cases.coverage(), sorted(cases.folder.rglob("*"))

    dry = cases.load(CASES, *rows, whole=whole, policy={"dry_run": True})

    assert before[:-1] == (cases.changed(), cases.loads(), cases.coverage())
    assert {path.name for path in cases.folder.rglob("*")} - {"rows.csv"} == {p.name for p in before[-1]} - {"rows.csv"}
    assert (dry.number, dry.feed_number) == (None, 2)
    assert dry.changes == cases.load(CASES, *rows, whole=whole).changes


def test_dry_run_into_empty_table(notes: LoadedTable) -> None:
    """A dry run into an empty table reports the rows that would be added, and adds none."""
    dry = notes.load(NOTES, NOTE.format(state="ISSUED", due=""), policy={"dry_run": True})

    assert dry.changes == Changes(added=1, changed=0, unchanged=0, removed=0)
    assert not notes.rows(note_table, "serial")


def many(count: int, state: str = "A") -> list[str]:
    return [f"{state}-{n:05d},name" for n in range(count)]


@pytest.mark.parametrize(
    ("stored", "kept", "allowed"), [(2000, 1980, True), (2000, 1979, False), (100, 99, True), (20, 19, False)]
)
def test_large_changes_are_refused(notes: LoadedTable, stored: int, kept: int, *, allowed: bool) -> None:
    """A load that would remove more than the limit, of however small a feed, is refused with the number to allow."""
    notes.load(MEMBERS, *many(stored))
    removed = stored - kept
    limit = {"change_limit": 0.01}

    if not allowed:
        for too_few in (0, removed - 1):
            with pytest.raises(LoadError, match=f"remove {removed} of {stored:,} .* --allow-removals {removed}$"):
                notes.load(MEMBERS, *many(kept), policy=limit | {"allow_removals": too_few})
        limit["allow_removals"] = removed

    result = notes.load(MEMBERS, *many(kept), policy=limit)
    assert result.changes == Changes(added=0, changed=0, unchanged=kept, removed=removed)


def test_changed_rows_count_as_removed_ones(cases: LoadedTable) -> None:
    """Changed rows count towards the limit as removed ones do."""
    rows = [f"{n},{CIVIL},{n},9990000050,DRAWER" for n in range(1000, 1020)]
    cases.load(CASES, *rows)

    with pytest.raises(LoadError, match=r"would change 11 and remove 0 of 24 .* --allow-removals 11$"):
        cases.load(CASES, *(row.replace("CIVIL", "CRIMINAL") for row in rows[:11]), policy={"change_limit": 0.01})


def test_large_load_leaves_same_facts_and_indexes(cases: LoadedTable) -> None:
    """A load that is large compared with the table leaves the same facts and indexes as a small one."""
    rows = [f"{n},{CIVIL},{n},9990000050,DRAWER" for n in range(1000, 2000)]

    cases.load(CASES, *rows)
    cases.load(CASES, *rows, *WHOLE)

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
    assert empty.rejects() == ["4,5,kind,NOT_A_KNOWN_WORD: give CIVIL or CRIMINAL", "3,4,case_number,DUPLICATE"]
    assert not empty.changed()

    assert empty.load(CASES, SECOND, FIRST).rows == 2
    assert empty.changed() == {("1", "9990000050", 1), ("2", "9990000069", 1)}


def test_contradicting_neighbours_reject_file_in_empty_table(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contradicting rows are reported also where they follow each other, in one batch of rows or in two."""
    cases, notes = (LoadedTable(each.store, tmp_path) for each in (sandbox.judiciary(), sandbox.promissory()))

    assert cases.load(CASES, FIRST, FIRST, SECOND).rejected == 1
    assert cases.rejects() == ["2,3,case_number,DUPLICATE"]
    assert cases.load(CASES, FIRST, f"1,{CIVIL},701,9990000069,DRAWER", SECOND).rejected == 1
    assert cases.rejects() == ["2,3,case_number,DIFFERS_FROM_AN_EARLIER_ROW"]

    monkeypatch.setattr(csv_reader, "BLOCK", len("agency_id,name\n"))
    row = "A," + "n" * (csv_reader.BLOCK - len("A,\n"))
    assert notes.load(MEMBERS, row, row).rejected == 1
    assert notes.rejects() == ["2,3,agency_id,DUPLICATE"]
    assert not notes.rows(member_table, "agency_id")


NOTE = (
    "1404000000000017,{state},9990000018,آرش,ساری,9906131315,99000554330,99000554330,شرکت,قم,9902036933,"
    "2500000000,2500000000,2025-04-15,{due},بانک"
)


def test_changed_note_is_replaced_and_journaled(notes: LoadedTable) -> None:
    """A changed note is replaced, and its serial is journaled."""
    notes.load(NOTES, NOTE.format(state="ISSUED", due="2027-04-15"))
    notes.load(NOTES, NOTE.format(state="ISSUED", due=""))
    notes.load(NOTES, NOTE.format(state="SETTLED", due=""))

    assert notes.rows(note_table, "serial", "state", "due_on", "load_number") == {
        ("1404000000000017", "SETTLED", None, 3)
    }
    assert notes.former() == {(2, "serial", "1404000000000017"), (3, "serial", "1404000000000017")}


def test_agencies_are_always_a_whole_file(notes: LoadedTable) -> None:
    """The list of member agencies is always a whole file."""
    notes.load(MEMBERS, "A,الف", "B,ب")
    notes.load(MEMBERS, "B,ب", "C,پ")

    assert notes.rows(member_table, "agency_id", "name", "load_number") == {("B", "ب", 1), ("C", "پ", 2)}
    assert not notes.former()
    with pytest.raises(LoadError, match="always whole"):
        notes.load(MEMBERS, "A,الف", whole=False)


def test_concurrent_load_is_rejected(cases: LoadedTable) -> None:
    """Of two concurrent loads one is refused: the message names its file and says that another one is running."""
    with closing(Store(cases.url, facts=AccessMode.WRITE)) as store, store.transaction():  # noqa: SIM117
        with pytest.raises(LoadError, match=r"rows\.csv: another load is running; load the file when it has ended"):
            cases.load(CASES, FOURTH)
    assert cases.load(CASES, FOURTH).rows == 1


def test_unlinked_cases_are_counted(cases: LoadedTable) -> None:
    """Cases of the file that lack a tracking id although the feed says that it has them are counted, each once."""
    unlinked = (THIRD, f"6,{CIVIL},,9990000018,DRAWER", f"6,{CIVIL},,9990000026,DRAWER")
    before = f"7,{CIVIL.replace('2024-05-01,', '2021-05-01,')},,9990000018,DRAWER"
    rows = (FIRST, *unlinked, before)

    undeclared = cases.load(CASES, *rows).warnings
    whole = cases.load(CASES, *rows, SECOND, whole=True, tracking_since=date(2024, 1, 1)).warnings
    changes = cases.load(CASES, *unlinked, f"8,{CIVIL},,9990000018,DRAWER").warnings
    deeper = cases.load(CASES, unlinked[0].replace(",,", ",709,"), tracking_since=FIRST_DATE).warnings

    assert [0, 2, 3, 3] == [found["cases_without_tracking_id"] for found in (undeclared, whole, changes, deeper)]


def test_unlinked_cases_that_a_whole_file_removes_are_not_counted(cases: LoadedTable) -> None:
    """A whole file that declares tracking_since counts no stored case that it lacks: none of them stays."""
    result = cases.load(CASES, FIRST, SECOND, whole=True, tracking_since=FIRST_DATE)

    assert (result.changes, result.warnings) == (
        Changes(added=0, changed=0, unchanged=2, removed=2, parties_dropped=1),
        {"cases_without_tracking_id": 0, "cases_filed_before_coverage": 0},
    )


def test_cases_filed_before_coverage_are_counted(cases: LoadedTable) -> None:
    """Cases of the file that no answer takes account of are counted: their filing dates may be mistyped."""
    old = f"7,{CIVIL.replace('2024-05-01,', '1925-05-01,')},707,,"

    whole = cases.load(CASES, FIRST, old, whole=True, complete_since=date(2024, 1, 1)).warnings
    changes = cases.load(CASES, old.replace("7,", "8,", 1)).warnings

    assert [1, 1] == [found["cases_filed_before_coverage"] for found in (whole, changes)]
