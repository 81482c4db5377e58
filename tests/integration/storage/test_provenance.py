"""The order of a feed's files, and the coverage that follows from them, on every database."""

import gzip
import io
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from development.sandbox import Sandbox
from estelam.core.parties import Parties
from estelam.loading.errors import LoadError
from estelam.loading.feed import Changes
from estelam.storage.coverage import Coverage
from judiciary.feeds import CASES
from judiciary.repository import FIRST_DATE
from promissory.feeds import MEMBERS, NOTES
from tests.conftest import both_engines_in_full
from tests.integration.storage.loaded_table import CIVIL, FIRST, FOURTH, SECOND, START, THIRD, WHOLE, LoadedTable

pytestmark = both_engines_in_full

HOUR = timedelta(hours=1)
NOTE = "1404000000000017,ISSUED,9990000018,ob,ad,,99000554330,99000554330,ho,ad,,1000,1000,2025-04-15,,place"
START_OF_1399 = date(2020, 3, 20)
TAKES_CASES = {"required_feeds": ("cases", "court-b"), "taken_feed": "cases"}
MEMBERS_TOO = {"required_feeds": ("notes", "members")}


@pytest.fixture
def cases(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    """The judiciary's facts, with number 1 of the feed loaded."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    register.load(CASES, *WHOLE, number=1, whole=True)
    return register


@pytest.fixture
def notes(sandbox: Sandbox, tmp_path: Path) -> LoadedTable:
    return LoadedTable(sandbox.promissory().store, tmp_path)


def refuse(register: LoadedTable, match: str, *rows: str, **declared: Any) -> None:
    """Load a file that must be refused and must change nothing."""
    before = register.changed(), register.loads(), register.coverage()
    with pytest.raises(LoadError, match=match):
        register.load(CASES, *rows, **declared)
    assert before == (register.changed(), register.loads(), register.coverage())


def test_loads_record_where_the_data_is_from(cases: LoadedTable) -> None:
    """Each load is recorded with its feed, number, cut-off, hash, kind and counts."""
    cases.load(CASES, FIRST, FOURTH, number=2, complete_since=START_OF_1399, tracking_since=FIRST_DATE)

    first, second = cases.loads()
    assert (first.feed, first.feed_number, first.whole, first.complete_since) == ("cases", 1, True, FIRST_DATE)
    micros = int((START + 2 * HOUR).timestamp() * 1e6)
    assert (second.number, second.feed, second.feed_number, second.cut_at_micros) == (2, "cases", 2, micros)
    assert (second.file, len(second.sha256), second.whole) == ("rows.csv", 64, False)
    assert (second.rows, second.added, second.changed, second.unchanged, second.removed) == (2, 1, 0, 1, 1)
    assert (second.complete_since, second.tracking_since) == (START_OF_1399, FIRST_DATE)
    assert second.covered_since == START_OF_1399


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("number", "match"), [(3, "out of order: expected number 2"), (1, "expected number 2")])
def test_numbers_have_no_gap(cases: LoadedTable, number: int, match: str, *, whole: bool) -> None:
    """A file that is not the next one of its feed is refused with the expected number, also a whole one."""
    refuse(cases, match, FOURTH, number=number, whole=whole)

    assert cases.load(CASES, FOURTH, number=2).feed_number == 2


def test_first_file_is_number_one_or_whole(cases: LoadedTable) -> None:
    """Changes without what they change are refused; a whole file may begin with any number."""
    refuse(cases, "expected number 1 or a whole file", SECOND, feed="court-b", number=7)

    cases.load(CASES, FOURTH, feed="court-b", number=7, whole=True)
    cases.load(CASES, f"5,{CIVIL},703,,", feed="court-b", number=8)
    cases.load(CASES, f"6,{CIVIL},704,,", feed="court-c", number=1)
    assert [load.feed_number for load in cases.loads()] == [1, 7, 8, 1]


def test_same_file_again_is_no_error(cases: LoadedTable) -> None:
    """A file that is loaded again as the same number changes nothing, also after later ones and without a manifest."""
    cases.load(CASES, FOURTH, number=2)
    before = cases.changed(), cases.loads(), cases.coverage()

    for number in (1, None):
        again = cases.load(CASES, *WHOLE, number=number, whole=True, cut_at=START + HOUR)
        assert (again.already_loaded, again.number, again.feed_number) == (True, 1, 1)
    assert before == (cases.changed(), cases.loads(), cases.coverage())


def test_repeated_rows_are_refused_under_another_number(cases: LoadedTable) -> None:
    """An older file that is delivered again as a new one is refused, also as one of another feed."""
    cases.load(CASES, FIRST.replace("DRAWER", "HOLDER"))

    known = "already loaded as number 1 of the feed cases"
    refuse(cases, known, *WHOLE, whole=True)
    refuse(cases, known, *WHOLE, whole=True, number=3)
    refuse(cases, known, *WHOLE, whole=True, feed="court-b")


def parquet_file(content: bytes) -> bytes:
    texts = csv.ConvertOptions(default_column_type=pa.string())
    parquet.write_table(csv.read_csv(pa.BufferReader(content), convert_options=texts), file := io.BytesIO())
    return file.getvalue()


def other_order(content: bytes) -> bytes:
    header, *rows = content.splitlines(keepends=True)
    return b"".join([header, *reversed(rows)])


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "order": other_order,
    "crlf": lambda content: content.replace(b"\n", b"\r\n"),
    "bom": lambda content: b"\xef\xbb\xbf" + content,
    "semicolon": lambda content: content.replace(b",", b";"),
    "quotes": lambda content: content.replace(b"CIVIL", b'"CIVIL"'),
    "slashes": lambda content: content.replace(b"2024-05-01,", b"1403/2/12,"),
    "gzip": gzip.compress,
    "parquet": parquet_file,
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_older_rows_are_recognized_in_any_form(cases: LoadedTable, form: Callable[[bytes], bytes]) -> None:
    """An older whole file brings no older state back, whatever program has saved it, number and cut-off it gets."""
    cases.load(CASES, FIRST.replace("DRAWER", "HOLDER"))

    refuse(cases, "rows of this file were already loaded as number 1", *WHOLE, whole=True, form=form)
    refuse(cases, "rows of this file were already loaded as number 1", *WHOLE, whole=True, form=form, number=3)
    refuse(cases, "rows of this file were already loaded as number 2", FIRST.replace("DRAWER", "HOLDER"), form=form)


@pytest.mark.parametrize("form", [bytes, *FORMS.values()], ids=["same", *FORMS])
def test_an_unchanged_whole_file_needs_the_word_of_its_source(
    cases: LoadedTable, form: Callable[[bytes], bytes]
) -> None:
    """The feed's last whole file makes the data newer only under the next number, or if it is allowed."""
    refuse(cases, "already loaded as number 1 .* if they are to hold now", *WHOLE, whole=True, form=form)

    numbered = cases.load(CASES, *WHOLE, number=2, whole=True, form=form)
    assert (numbered.changes, numbered.feed_number) == (Changes(0, 0, 4, 0), 2)
    assert cases.coverage() == numbered.coverage == Coverage(FIRST_DATE, START + cases.hours * HOUR)
    cases.load(CASES, *WHOLE, whole=True, form=form, policy={"allow_known_content": True})
    assert cases.coverage() == Coverage(FIRST_DATE, START + cases.hours * HOUR)


def test_an_unchanged_file_of_changes_is_refused(cases: LoadedTable) -> None:
    """The rows of the feed's last file of changes say nothing new under any number; one without rows does."""
    cases.load(CASES, FOURTH, number=2)
    refuse(cases, "if nothing has changed since then, load a file of changes that has no rows", FOURTH, number=3)

    cases.load(CASES, number=3)
    refuse(cases, "already loaded as number 2", FOURTH, number=4)
    assert cases.load(CASES, number=4).feed_number == 4


def test_a_state_that_holds_again_is_loaded_if_allowed(cases: LoadedTable) -> None:
    """A delta that says what an earlier one said is refused with the way to load it, and then loaded."""
    other = FIRST.replace("DRAWER", "HOLDER")
    cases.load(CASES, other)
    cases.load(CASES, FIRST)
    refuse(cases, "if they are to hold now, load it with --allow-known-file", other)

    assert cases.load(CASES, other, policy={"allow_known_content": True}).changes == Changes(1, 0, 0, 1, 1)


def test_other_content_under_a_known_number_is_refused(cases: LoadedTable) -> None:
    """Another file under a number that is loaded is refused."""
    refuse(
        cases,
        "loaded with another content, kind, complete_since: expected number 2",
        FOURTH,
        number=1,
        cut_at=START + HOUR,
    )


def test_corrected_declaration_has_the_next_number(cases: LoadedTable) -> None:
    """The last content with other declarations is refused under its number, and loaded under the next one."""
    cut_at, later = START + HOUR, date(2022, 1, 1)
    refuse(
        cases,
        "another complete_since: expected number 2",
        *WHOLE,
        whole=True,
        number=1,
        cut_at=cut_at,
        complete_since=later,
    )
    refuse(
        cases,
        "another tracking_since: expected number 2",
        *WHOLE,
        whole=True,
        number=1,
        cut_at=cut_at,
        tracking_since=later,
    )

    again = cases.load(CASES, *WHOLE, whole=True, number=2, cut_at=cut_at, complete_since=later)
    assert (again.already_loaded, again.feed_number, cases.coverage()) == (False, 2, Coverage(later, cut_at))
    assert cases.load(CASES, *WHOLE, whole=True, number=2, cut_at=cut_at, complete_since=later).already_loaded


def test_changes_declared_whole_afterwards_are_a_new_load(cases: LoadedTable) -> None:
    """A file of changes that is declared whole is refused under its number, and loaded under the next one."""
    cases.load(CASES, FIRST, FOURTH, number=2, cut_at=START + 2 * HOUR)
    refuse(cases, "another kind: expected number 3", FIRST, FOURTH, number=2, cut_at=START + 2 * HOUR, whole=True)

    cases.load(CASES, FIRST, FOURTH, number=3, whole=True)

    assert {number for number, *_ in cases.changed()} == {"1", "4"}


def test_cut_off_never_goes_back(cases: LoadedTable) -> None:
    """A file cut before the last one of its feed is refused; one cut at the same instant is loaded."""
    refuse(cases, "is before that of number 1 .* older than what is loaded", FOURTH, cut_at=START)
    refuse(cases, "is before that of number 1", FOURTH, cut_at=START, whole=True)
    refuse(cases, "is in the future", FOURTH, cut_at=datetime.now(UTC) + timedelta(minutes=2))

    cases.load(CASES, FOURTH, cut_at=START + HOUR)


def test_whole_file_corrects_a_cut_off_in_the_future(cases: LoadedTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut-off that a wrong clock has let into the future is corrected by a whole file, and only by that."""
    ahead = datetime.now(UTC) + timedelta(days=3650)
    with monkeypatch.context() as patch:
        patch.setattr("estelam.core.clock.time.time_ns", lambda: int(ahead.timestamp() * 1e9))
        cases.load(CASES, FOURTH, cut_at=ahead)

    refuse(cases, "is before that of number 2", SECOND)
    cases.load(CASES, *WHOLE, FOURTH, whole=True)

    assert cases.coverage() == Coverage(FIRST_DATE, START + cases.hours * HOUR)


def test_declared_rows_and_hash_are_verified(cases: LoadedTable) -> None:
    """A file with other rows or another hash than its manifest says is refused."""
    refuse(cases, "has 1 rows; its manifest says 2", FOURTH, rows=2)
    refuse(cases, "is not the file of its manifest", FOURTH, sha256="0" * 64)


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ({"whole": True, "parties": Parties.MERGED}, "names all parties"),
        (
            {"complete_since": date(2022, 1, 1)},
            r"complete_since 1400-10-11 \(2022-01-01\): the feed has declared 1400-01-01 \(2021-03-21\)",
        ),
    ],
)
def test_contradicting_declarations_are_refused(cases: LoadedTable, declared: dict[str, Any], match: str) -> None:
    """What a file can't declare is refused."""
    refuse(cases, match, FOURTH, **declared)


def test_notes_declare_no_dates(notes: LoadedTable) -> None:
    """A feed that is complete or not declares no first date."""
    with pytest.raises(LoadError, match="declares no first date"):
        notes.load(NOTES, complete_since=FIRST_DATE)


def test_changes_alone_declare_nothing_complete(sandbox: Sandbox, tmp_path: Path) -> None:
    """A feed is complete from its first whole file on, or once it declares a date."""
    register = LoadedTable(sandbox.judiciary().store, tmp_path)
    register.load(CASES, FIRST)
    assert register.coverage() is None

    register.load(CASES, SECOND, complete_since=START_OF_1399)

    assert register.coverage() == Coverage(START_OF_1399, START + 2 * HOUR)


@pytest.mark.parametrize("date_of", ["complete_since", "tracking_since"])
def test_a_file_without_rows_declares_no_date(cases: LoadedTable, date_of: str) -> None:
    """A file without rows neither begins nor deepens coverage; it may repeat what the feed has declared."""
    dates: dict[str, Any] = {date_of: START_OF_1399}
    refuse(cases, "holds no row; declare the first dates", **dates)
    refuse(cases, "holds no row; declare the first dates", **dates, feed="court-b", number=1)

    cases.load(CASES, FOURTH, **dates)
    cases.load(CASES, **dates)


def test_only_a_whole_file_reduces_coverage(cases: LoadedTable) -> None:
    """Coverage deepens with any file, and is reduced only by a whole one."""
    cases.load(CASES, FOURTH, complete_since=START_OF_1399, tracking_since=FIRST_DATE)
    assert cases.coverage() == Coverage(START_OF_1399, START + 2 * HOUR, FIRST_DATE)
    refuse(cases, "complete_since .* only a whole file", SECOND, complete_since=FIRST_DATE)
    refuse(cases, "tracking_since .* only a whole file", SECOND, tracking_since=date(2022, 1, 1))

    cases.load(CASES, *WHOLE, FOURTH, whole=True, complete_since=FIRST_DATE, tracking_since=date(2022, 1, 1))

    assert cases.coverage() == Coverage(FIRST_DATE, START + cases.hours * HOUR, date(2022, 1, 1))


def test_coverage_is_that_of_all_required_feeds(cases: LoadedTable) -> None:
    """Coverage begins with the latest first date and ends with the earliest cut-off of the required feeds."""
    both = {"required_feeds": ("cases", "court-b")}
    cases.load(CASES, FIRST, tracking_since=FIRST_DATE, policy=both)
    assert cases.coverage() is None  # court-b is not loaded

    cases.load(CASES, FOURTH, feed="court-b", whole=True, complete_since=date(2023, 1, 1), policy=both)
    assert cases.coverage() == Coverage(date(2023, 1, 1), START + 2 * HOUR)

    cases.load(CASES, SECOND, THIRD, tracking_since=FIRST_DATE, policy=both)
    cases.load(CASES, f"5,{CIVIL},703,,", feed="court-b", tracking_since=date(2024, 1, 1), policy=both)
    assert cases.coverage() == Coverage(date(2023, 1, 1), START + 4 * HOUR, date(2024, 1, 1))


@pytest.mark.parametrize("whole", [True, False])
def test_a_column_that_earlier_files_had_is_not_left_out(cases: LoadedTable, *, whole: bool) -> None:
    """A file that lacks an optional column which its feed has delivered is refused, so that no value is lost."""
    with_cheques = f"1,{CIVIL},700,1402000000000011,9990000050,DRAWER"
    cases.load(CASES, with_cheques, absent=())
    before = cases.changed(), cases.loads()

    refuse(cases, "rows.csv: lacks sayad_id, which earlier files of the feed had", FIRST, FOURTH, whole=whole)
    refuse(cases, "lacks sayad_id", policy={"dry_run": True})

    assert before == (cases.changed(), cases.loads())
    assert cases.load(CASES, with_cheques, f"4,{CIVIL},702,,,", absent=()).changes == Changes(1, 0, 1, 0)
    assert cases.load(CASES, FOURTH.replace("4,", "5,", 1), feed="court-b", whole=True).changes == Changes(1, 0, 0, 0)
    refuse(cases, "lacks sayad_id", with_cheques.replace("1402000000000011,", ""), policy=TAKES_CASES, feed="court-b")


def test_an_empty_column_removes_its_values(cases: LoadedTable) -> None:
    """A column without values says that there are none, and the limit of changes applies."""
    rows = [f"{n},{CIVIL},{n},1402000000000011,9990000050,DRAWER" for n in range(1000, 1020)]
    emptied = [row.replace("1402000000000011", "") for row in rows]
    cases.load(CASES, *rows, absent=())

    with pytest.raises(LoadError, match="would change 20 and remove 0"):
        cases.load(CASES, *emptied, absent=(), policy={"change_limit": 0.01})

    assert cases.load(CASES, *emptied, absent=()).changes == Changes(added=0, changed=20, unchanged=0, removed=0)


def test_a_file_declared_with_other_parties_is_not_the_same(cases: LoadedTable) -> None:
    """A file whose parties are declared otherwise is not already loaded; as the next number it replaces them."""
    cases.load(CASES, FIRST, number=2, parties=Parties.MERGED)
    assert len(cases.changed()) == 4

    same: dict[str, Any] = {"cut_at": START + timedelta(hours=cases.hours)}
    assert cases.load(CASES, FIRST, number=2, **same, parties=None).already_loaded
    refuse(cases, "number 2 .* was loaded with another parties: expected number 3", FIRST, number=2, **same)
    assert cases.load(CASES, FIRST, number=3, **same).changes == Changes(0, 0, 1, 1, parties_dropped=1)
    refuse(cases, "already loaded as number 3", FIRST, number=4, parties=Parties.MERGED)
    refuse(cases, "already loaded as number 3", FIRST, number=4)


@pytest.mark.parametrize("name", ["members", "note", "Notes", "notes-b"])
def test_a_feed_name_belongs_to_one_kind_of_file(notes: LoadedTable, name: str) -> None:
    """A file is refused as one of another kind's feed, and as one of a feed that the settings do not name."""
    both = {"required_feeds": ("notes", "members")}
    with pytest.raises(LoadError, match=f"the feed {name} takes no file of notes: expected notes;"):
        notes.load(NOTES, feed=name, policy=both)
    with pytest.raises(LoadError, match="the feed notes takes no file of members: expected members;"):
        notes.load(MEMBERS, "A,الف", feed="notes", policy=both)

    assert (notes.loads(), notes.coverage()) == ([], None)


def test_a_feed_that_is_not_required_leaves_coverage(notes: LoadedTable) -> None:
    """The list of members does not make the notes fresher, unless the settings require it."""
    notes.load(MEMBERS, "A,الف", policy={"required_feeds": ("members",)})
    assert notes.coverage() == Coverage(date.min, START + HOUR)

    notes.load(NOTES, whole=False, policy={"required_feeds": ("notes",)})
    notes.load(MEMBERS, "A,الف", "B,ب", policy={"required_feeds": ("notes",)})
    assert notes.coverage() is None
    notes.load(MEMBERS, "B,ب", policy=MEMBERS_TOO)
    assert notes.coverage() is None


@pytest.mark.parametrize("whole", [True, False])
def test_coverage_leaves_no_feed_out(cases: LoadedTable, *, whole: bool) -> None:
    """A feed that the settings no longer name keeps coverage as it is, until a whole file has taken over its records.

    Otherwise the remaining feeds would seem complete for the cases that it had delivered, and still might.
    """
    cases.load(CASES, FOURTH, feed="court-b", whole=True, complete_since=date(2024, 3, 20))
    without: dict[str, Any] = {"required_feeds": ("cases",)}

    refuse(
        cases,
        r"no longer names court-b, whose records are stored: .* them out, 1 in all \(case_number 4\); name it again",
        FIRST,
        whole=whole,
        policy=without,
    )
    taking = without | {"taken_feed": "court-b"}
    both: dict[str, Any] = {"whole": True, "complete_since": date(2024, 3, 20)}
    if whole:
        cases.load(CASES, *WHOLE, FOURTH, policy=taking, **both)
        assert cases.coverage() == Coverage(date(2024, 3, 20), START + cases.hours * HOUR)
        cases.load(CASES, FIRST, policy=without)
    else:
        cases.load(CASES, FOURTH, feed="court-b", complete_since=FIRST_DATE)
        refuse(cases, "no longer names court-b", FOURTH, policy=taking)


def test_a_feed_is_split(cases: LoadedTable) -> None:
    """The feeds that a feed is split into take over its records with whole files; until all are, it is missed."""
    cases.load(CASES, FOURTH)
    both, three = ("tehran", "shiraz"), ("cases", "tehran", "shiraz")
    declared: dict[str, Any] = {"whole": True, "complete_since": FIRST_DATE}

    def take(feed: str, feeds: tuple[str, ...] = three) -> dict[str, Any]:
        return declared | {"feed": feed, "policy": {"taken_feed": "cases", "required_feeds": feeds}}

    first = cases.load(CASES, FIRST, SECOND, **take("tehran"))
    missing = r"no longer names cases, .* 1 in all \(case_number 4\)"
    refuse(cases, missing, THIRD, **take("shiraz", feeds=both))
    cases.load(CASES, THIRD, FOURTH, **take("shiraz"))
    cases.load(CASES, feed="tehran", policy={"required_feeds": both})

    assert first.coverage is None
    assert cases.coverage() == Coverage(FIRST_DATE, START + (cases.hours - 1) * HOUR)


def test_missing_records_are_counted(cases: LoadedTable, notes: LoadedTable) -> None:
    """A refusal names the first three cases that coverage would leave out; of notes, which are asked about, none."""
    cases.load(CASES, *(f"c{n},{CIVIL},{700 + n},," for n in range(5)), feed="court-b")
    notes.load(NOTES, NOTE, feed="notes-b", whole=True)

    refuse(cases, r"5 in all \(case_number c0, c1, c2, …\); name", FIRST, policy={"required_feeds": ("cases",)})
    with pytest.raises(LoadError, match="1 in all; name"):
        notes.load(NOTES, NOTE.replace("0017", "0025"), whole=True, policy={"required_feeds": ("notes",)})


def test_messages_name_the_file(cases: LoadedTable) -> None:
    """Each refusal of a load begins with the name of its file, whether it is about number, cut-off or rows."""
    refused: list[tuple[str, dict[str, Any]]] = [
        ("number 9 of the feed cases is out of order", {"number": 9}),
        ("the cut-off .* is in the future", {"cut_at": datetime(2099, 1, 1, tzinfo=UTC)}),
        ("the cut-off .* is before that of number 1", {"cut_at": START}),
        ("the rows of this file were already loaded", {}),
        ("--take-over court-x: the feeds", {"policy": {"taken_feed": "court-x"}}),
        ("the feed court-y takes no file", {"feed": "court-y", "policy": {"required_feeds": ("cases",)}}),
    ]
    for message, declared in refused:
        refuse(cases, rf"^{re.escape(str(cases.folder))}/rows\.csv: {message}", *WHOLE, **declared)
    rounded = [f"{140500000000000000 + n * 1000},{CIVIL},,9990000050,DRAWER" for n in range(1, 7)]
    refuse(cases, r"rows\.csv: case_number: 6 of 6 values end in zeros", *rounded)


def test_a_feed_that_delivers_again_has_not_ended(cases: LoadedTable) -> None:
    """A take-over ends a feed up to its last file: after another file its records are missing again."""
    both: dict[str, Any] = {"whole": True, "complete_since": FIRST_DATE}
    cases.load(CASES, FOURTH, feed="court-b", whole=True)
    cases.load(CASES, *WHOLE, FOURTH, policy={"taken_feed": "court-b"}, **both)
    cases.load(CASES, f"5,{CIVIL},703,,", feed="court-b")

    refuse(cases, "no longer names court-b", FIRST, policy={"required_feeds": ("cases",)})


def test_a_feed_that_keeps_a_record_has_not_ended(cases: LoadedTable) -> None:
    """A whole file ends another feed only if it takes over all of its records: coverage would leave the others out."""
    both: dict[str, Any] = {"whole": True, "complete_since": FIRST_DATE}
    kept = f"5,{CIVIL},703,,"
    cases.load(CASES, FOURTH, kept, feed="court-b", whole=True)
    without: dict[str, Any] = {"required_feeds": ("cases",)}

    for dry_run in (True, False):
        taking = without | {"taken_feed": "court-b", "dry_run": dry_run}
        refuse(cases, "no longer names court-b, whose records are stored", *WHOLE, FOURTH, policy=taking, **both)
    cases.load(CASES, *WHOLE, FOURTH, policy={"taken_feed": "court-b"}, **both)
    refuse(cases, "no longer names court-b", FIRST, policy=without)
    cases.load(CASES, *WHOLE, FOURTH, kept, policy=without | {"taken_feed": "court-b"}, **both)
    assert cases.coverage() == Coverage(FIRST_DATE, START + cases.hours * HOUR)
