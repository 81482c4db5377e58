"""Which files may take over records of another feed, and what they declare of them, on every database."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from development.sandbox import Sandbox
from estelam.core.clock import Clock, to_datetime
from estelam.core.dates import format_both
from estelam.loading.errors import LoadError
from estelam.storage.coverage import Coverage
from estelam.storage.facts import removed_record_table
from judiciary.feeds import CASES
from judiciary.repository import FIRST_DATE
from promissory.feeds import NOTES
from promissory.repository import note_table
from tests.conftest import both_engines_in_full
from tests.integration.storage.loaded_table import CIVIL, FIRST, FOURTH, SECOND, START, THIRD, WHOLE, LoadedTable

pytestmark = both_engines_in_full

HOUR = timedelta(hours=1)
NEWER = FIRST.replace("DRAWER", "HOLDER")
EARLIER, LATER = date(2020, 3, 20), date(2024, 3, 20)
NOTE = "1404000000000017,{state},9990000018,ob,ad,,99000554330,99000554330,ho,ad,,1000,1000,2025-04-15,,place"


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    """The judiciary's facts; court-b has one case, cut before the files of court-a."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    register.load(CASES, FOURTH, feed="court-b", whole=True)
    return register


def take(register: LoadedTable, *rows: str, feed: str = "court-b", **declared: Any) -> Any:
    """Load a file of *feed* that takes over records of court-a."""
    policy = {"taken_feed": "court-a", "required_feeds": tuple({"court-a", "court-b", feed})}
    return register.load(CASES, *rows, feed=feed, policy=policy, **declared)


def refuse(register: LoadedTable, match: str, *rows: str, **declared: Any) -> None:
    """Load a file that takes over records, which must be refused and must change nothing."""
    before = register.changed(), register.loads(), register.coverage()
    with pytest.raises(LoadError, match=match):
        take(register, *rows, **declared)
    assert before == (register.changed(), register.loads(), register.coverage())


@pytest.mark.parametrize("kind", [{}, {"whole": True, "complete_since": FIRST_DATE}], ids=["delta", "whole"])
def test_an_older_file_takes_over_nothing(cases: LoadedTable, kind: dict[str, Any]) -> None:
    """A file cut before the last one of the feed whose records it takes over is refused, also if that has no rows."""
    cases.load(CASES, FIRST, feed="court-a", whole=True)
    cases.load(CASES, NEWER, feed="court-a")
    day = r"\S+ \S+ \(\S+\)"
    older = (
        rf"--take-over court-a: the cut-off {day} is before that of number %d of the feed court-a, {day}: the file is"
    )
    refuse(cases, older % 2, f"1,{CIVIL},799,9990000050,DRAWER", cut_at=START + 2 * HOUR, **kind)

    cases.load(CASES, feed="court-a")
    refuse(cases, older % 3, f"1,{CIVIL},799,9990000050,DRAWER", cut_at=START + 3 * HOUR, **kind)

    assert take(cases, FIRST, SECOND, **kind, cut_at=START + 5 * HOUR).changes.taken_over == 1


def test_an_older_note_takes_over_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """A note that was settled is not issued again by an older file of another feed."""
    notes = LoadedTable(sandbox.promissory().store, tmp_path)
    notes.load(NOTES, NOTE.format(state="SETTLED"), feed="notes-a", whole=True)
    policy = {"taken_feed": "notes-a"}

    with pytest.raises(LoadError, match="older than the records"):
        notes.load(NOTES, NOTE.format(state="ISSUED"), feed="notes-b", policy=policy, cut_at=START)

    assert notes.rows(note_table, "state", "load_number") == {("SETTLED", 1)}


def test_a_removed_record_is_not_brought_back_by_an_older_file(cases: LoadedTable) -> None:
    """A case that a whole file no longer had enters only with a file of another feed that was not cut before it."""
    cases.load(CASES, FIRST, SECOND, f"2,{CIVIL},701,9990000018,HOLDER", feed="court-a", whole=True)
    cases.load(CASES, FIRST, feed="court-a", whole=True)
    after = {row for row in cases.changed() if row[0] != "2"}

    for whole in (True, False):
        older = cases.load(CASES, SECOND, FOURTH, feed="court-b", cut_at=START + 2 * HOUR, whole=whole)
        assert [(each.row, each.reason) for each in older.first_rejects] == [(1, "REMOVED_BY_A_NEWER_FILE")]
    assert cases.changed() == after
    assert not cases.load(CASES, SECOND, FOURTH, feed="court-b", cut_at=START + 3 * HOUR).rejected


def test_a_cut_off_in_the_future_keeps_no_record_out(cases: LoadedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removals by a file whose cut-off lay in the future, as a wrong clock let it, keep no other feed's record out."""
    cases.load(CASES, FIRST, SECOND, feed="court-a", whole=True)
    monkeypatch.setattr("tests.integration.storage.loaded_table.Clock", lambda: Clock(micros=lambda: 2**52))
    cases.load(CASES, FIRST, feed="court-a", whole=True, cut_at=to_datetime(2**52))
    monkeypatch.undo()

    assert not cases.load(CASES, SECOND, feed="court-b").rejected


def test_a_dropped_party_is_no_removed_record(cases: LoadedTable) -> None:
    """A case that a whole file has with fewer parties still belongs to its feed, and its former rows keep none out."""
    cases.load(CASES, *WHOLE, feed="court-a", whole=True)
    cases.load(CASES, FIRST, SECOND, THIRD, feed="court-a", whole=True)

    assert cases.rows(removed_record_table, "record") == set()


def test_a_removed_note_is_not_brought_back_by_an_older_file(sandbox: Sandbox, tmp_path: Path) -> None:
    """A note that the register no longer has is not issued again by an older file of another feed."""
    notes = LoadedTable(sandbox.promissory().store, tmp_path)
    other = NOTE.format(state="ISSUED").replace("0017", "0025")
    notes.load(NOTES, NOTE.format(state="ISSUED"), other, feed="notes-a", whole=True)
    notes.load(NOTES, other, feed="notes-a", whole=True)

    older = notes.load(NOTES, NOTE.format(state="ISSUED"), feed="notes-b", cut_at=START + HOUR)

    assert [each.reason for each in older.first_rejects] == ["REMOVED_BY_A_NEWER_FILE"]


def test_only_the_last_file_of_the_taken_feed_may_come_again(cases: LoadedTable) -> None:
    """The content of the last file with rows of the feed that ends is loaded again; that of an earlier one is not."""
    cases.load(CASES, *WHOLE, feed="court-a", whole=True)
    cases.load(CASES, NEWER, SECOND, feed="court-a")
    cases.load(CASES, feed="court-a")

    refuse(cases, "already loaded as number 1 of the feed court-a", *WHOLE)
    refuse(cases, "already loaded as number 1 of the feed court-b", FOURTH)
    assert take(cases, NEWER, SECOND, complete_since=FIRST_DATE).changes.taken_over == 2


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["complete_since", "tracking_since"])
@pytest.mark.parametrize("other", [LATER, None], ids=["later", "none"])
def test_a_take_over_widens_no_coverage(cases: LoadedTable, name: str, other: date | None, *, whole: bool) -> None:
    """A date that one feed has declared holds for records of a feed with a later one, or none, only if it is declared.

    So coverage is no deeper after the former feed has left the settings.
    """
    both: dict[str, Any] = {"complete_since": FIRST_DATE, "tracking_since": FIRST_DATE}
    cases.load(CASES, FOURTH, SECOND, feed="court-b", **both)
    cases.load(CASES, FIRST, feed="court-a", **(both | {name: other}))
    others = {each: day for each, day in both.items() if each != name}

    declared = re.escape(format_both(other)) if other else "none"
    so_far = f"so far court-b has declared {re.escape(format_both(FIRST_DATE))}, and court-a {declared}"
    refuse(cases, f"--take-over court-a: the file must declare {name}, .* {so_far}", FIRST, whole=whole, **others)

    assert take(cases, FIRST, whole=whole, **both).changes.taken_over == 1


def test_a_delta_needs_no_declaration_where_coverage_stays(cases: LoadedTable) -> None:
    """A file of changes keeps what its feed has declared, if the taken feed has declared as much or more."""
    cases.load(CASES, FIRST, feed="court-a", whole=True, complete_since=EARLIER, tracking_since=EARLIER)

    take(cases, FIRST)

    assert cases.coverage() == Coverage(FIRST_DATE, START + 2 * HOUR)


def test_a_new_feed_declares_what_holds_for_the_records_it_takes(cases: LoadedTable) -> None:
    """The first whole file of a feed does not replace the first date of a feed that it takes over by the default."""
    cases.load(CASES, *WHOLE, feed="court-a", whole=True, complete_since=LATER)
    refuse(cases, f"must declare complete_since, .* court-c has declared none, and court-a .*{LATER}", FIRST,
           feed="court-c", whole=True)  # fmt: skip

    take(cases, *WHOLE, feed="court-c", whole=True, complete_since=LATER)


def test_two_courts_are_merged(cases: LoadedTable) -> None:
    """The last file of the ended feed, a whole one of both, and the next file without the ended feed give coverage."""
    cases.load(CASES, *WHOLE, feed="court-a", whole=True, complete_since=LATER)
    refuse(cases, "must declare complete_since", *WHOLE, FOURTH, whole=True)

    take(cases, *WHOLE, FOURTH, whole=True, complete_since=LATER)
    assert cases.coverage() == Coverage(LATER, START + 2 * HOUR)
    cases.load(CASES, feed="court-b", policy={"required_feeds": ("court-b",)})

    assert cases.coverage() == Coverage(LATER, START + cases.hours * HOUR)
    assert {load for *_, load in cases.changed()} == {1, 3}


def test_notes_of_a_complete_feed_are_taken_over(sandbox: Sandbox, tmp_path: Path) -> None:
    """Notes declare no dates: they go to a complete feed from a complete one, or with a whole file."""
    notes = LoadedTable(sandbox.promissory().store, tmp_path)
    taking: dict[str, Any] = {"feed": "notes-b", "policy": {"taken_feed": "notes-a"}}
    notes.load(NOTES, NOTE.format(state="ISSUED").replace("0017", "0025"), feed="notes-b", whole=True)
    notes.load(NOTES, NOTE.format(state="ISSUED"), feed="notes-a")

    with pytest.raises(LoadError, match="load a whole file of the feed, as it holds for the records of both feeds"):
        notes.load(NOTES, NOTE.format(state="ISSUED"), **taking)
    notes.load(NOTES, NOTE.format(state="ISSUED").replace("0017", "0025"), NOTE.format(state="ISSUED"), whole=True,
               **taking)  # fmt: skip

    assert {number for _, number in notes.rows(note_table, "serial", "load_number")} == {1, 3}
