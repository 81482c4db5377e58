"""Loading files from the command line: all rows or none; errors name the row, never its values."""

import csv
import json
import sqlite3
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from pyarrow import parquet
from sqlalchemy.exc import OperationalError

from development.files import SAMPLES
from development.processes import COMMAND, environment
from development.sandbox import Sandbox
from estelam.core.dates import DateProblem
from estelam.loading import merge
from estelam.storage.store import Store
from judiciary import feeds as cases
from promissory import feeds as notes
from tests.e2e.conftest import CommandLine

NOTES = SAMPLES / "notes.csv"
CASES = SAMPLES / "cases.csv"
ROWS = 20

NOW = "2026-06-01T12:00:00+03:30"
"""The cut-off of files that are loaded one after the other: it may stay the same."""

Facts = Mapping[str, Sequence[tuple[Any, ...]]]


def facts(url: str) -> Facts:
    """All facts in a store."""
    with closing(Store(url)) as store, store.transaction() as connection:
        tables = connection.exec_driver_sql("SELECT name FROM facts.sqlite_master WHERE type = 'table'").scalars()
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM facts.{name}")]  # noqa: S608
            for name in list(tables)
        }


@pytest.fixture
def command(sandbox: Sandbox, tmp_path: Path) -> CommandLine:
    """The command line on a sandbox with the first rows of the notes loaded."""
    line = CommandLine(sandbox)
    first = file(tmp_path / "first.csv", NOTES, ROWS)
    assert line("promissory", "load-notes", first, "--replace", "--cut-at", NOW).code == 0
    return line


def file(path: Path, sample: Path, rows: int) -> Path:
    """The header and the first *rows* of *sample*."""
    path.write_bytes(b"".join(sample.read_bytes().splitlines(keepends=True)[: rows + 1]))
    return path


def changed(path: Path, row: int, column: str, value: str) -> Path:
    """*path* with one field of one row changed."""
    with path.open(encoding="utf-8", newline="") as given:
        rows = list(csv.DictReader(given))
    rows[row - 1][column] = value
    with path.open("w", encoding="utf-8", newline="") as made:
        writer = csv.DictWriter(made, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def refuse(command: CommandLine, path: Path, *, code: int = 1) -> str:
    """The message for *path*, which must not load, exits with *code* and must change nothing."""
    store = command.sandbox.promissory().store
    before = facts(store)
    result = command("promissory", "load-notes", path, "--cut-at", NOW)
    assert result.code == code
    assert before == facts(store)
    return " ".join(f"{result.out} {result.err}".split())


def rejects(path: Path) -> list[tuple[str, ...]]:
    """The rows of the rejects file of *path*."""
    with path.with_name(f"{path.name}.rejects.csv").open(encoding="utf-8", newline="") as found:
        return [tuple(row[:4]) for row in csv.reader(found)][1:]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"\n", "is empty; the first line must name the columns"),
        (b"serial,state\n", "line 1: the header lacks obligor_id, obligor_name, beneficiary_id"),
        (b"\xff\xfe\x00", "is in UTF-16, not UTF-8; convert it with: iconv"),
        (NOTES.read_bytes().replace(b"serial,", b"number,", 1), "lacks serial; it has the unknown column number"),
    ],
    ids=["empty", "blank", "too few columns", "UTF-16", "another name"],
)
def test_wrong_header_is_refused(command: CommandLine, tmp_path: Path, content: bytes, message: str) -> None:
    """A file with a wrong header is refused as a whole, and the message names the columns."""
    path = tmp_path / "notes.csv"
    path.write_bytes(content)

    assert message in refuse(command, path)


def left_over(command: CommandLine, path: Path) -> list[str]:
    """What a load of *path* has left behind: its rejects file, and files beside the store."""
    stores = (command.sandbox.promissory().store, command.sandbox.judiciary().store)
    folders = [Path(store.partition("///")[2]) for store in stores]
    beside = [name for folder in folders for name in sorted(folder.iterdir()) if "loading" in name.name]
    return [each.name for each in [*beside, path.with_name(f"{path.name}.rejects.csv")] if each.exists()]


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_unreadable_file_is_reported(command: CommandLine, tmp_path: Path, name: str) -> None:
    """A file that cannot be read is reported by its path."""
    words = refuse(command, tmp_path / name, code=2)

    assert "no such file" in words or "is a directory" in words


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("serial", "140400000000001", "must"),
        ("serial", "۱۴۰۴۰۰۰۰۰۰۰۰۰۰۱", "must"),
        ("serial", "140400000000\x000017", "INVISIBLE_CHARACTER"),
        ("state", "issued", "NOT_A_KNOWN_WORD"),
        ("obligor_id", "9990000019", "must"),
        ("obligor_postal_code", "123", "NOT_A_POSTAL_CODE"),
        ("obligor_name", "", "EMPTY"),
        ("obligor_name", "\u00a0", "EMPTY"),
        ("obligor_name", "آرش\u202eنمونه", "INVISIBLE_CHARACTER"),
        ("holder_address", "قم\u2028خیابان", "INVISIBLE_CHARACTER"),
        ("payment_place", "تهران" * 50, "TOO_LONG"),
        ("amount_rials", "-5", "NOT_A_WHOLE_NUMBER"),
        ("amount_rials", "1e9", "NOT_A_WHOLE_NUMBER"),
        ("amount_rials", "9223372036854775808", "NUMBER_TOO_LARGE"),
        ("remaining_rials", "99999999999999999", "MORE_THAN_THE_FACE_AMOUNT"),
        ("due_on", "2022-01-01", "BEFORE_THE_DATE_OF_ISSUE"),
        ("issued_on", "2025-02-30", "NO_SUCH_DAY"),
        ("issued_on", "1404-12-30", "NO_SUCH_DAY"),
        ("issued_on", "1404-01-26T00:00", "NOT_A_DATE"),
        ("issued_on", "04-01-26", "YEAR_WITHOUT_FOUR_DIGITS"),
        ("issued_on", "0024-05-01", "YEAR_OUT_OF_RANGE"),
        ("issued_on", "2042-05-01", "AFTER_TODAY"),
        ("issued_on", "1499/01/01", "AFTER_TODAY"),
    ],
)
def test_invalid_row_is_reported(command: CommandLine, tmp_path: Path, column: str, value: str, reason: str) -> None:
    """An invalid row is reported with row, line, column and reason, and nothing is loaded."""
    path = changed(file(tmp_path / "notes.csv", NOTES, ROWS), 7, column, value)

    refuse(command, path)

    ((row, line, named, why),) = rejects(path)
    assert ("7", "8", column) == (row, line, named)
    assert reason in why
    assert not value or value not in path.with_name("notes.csv.rejects.csv").read_text("utf-8")


@pytest.mark.parametrize("side", ["obligor", "holder"])
def test_addresses_are_optional(command: CommandLine, sandbox: Sandbox, tmp_path: Path, side: str) -> None:
    """A note without the address and the postal code of a party is loaded, and stored without them."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    for column in (f"{side}_address", f"{side}_postal_code"):
        changed(path, 1, column, "")

    assert command("promissory", "load-notes", path, "--cut-at", NOW).code == 0
    with closing(Store(sandbox.promissory().store)) as store, store.transaction() as connection:
        query = f"SELECT {side}_address, {side}_postal_code FROM facts.note WHERE serial = '1404000000000017'"  # noqa: S608
        assert tuple(connection.exec_driver_sql(query).one()) == ("", "")


def test_all_invalid_rows_are_listed(command: CommandLine, tmp_path: Path) -> None:
    """The rejects file lists every invalid row."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    for row in (2, 11, 20):
        changed(path, row, "state", "LOST")

    assert "3" in refuse(command, path)
    assert [("2", "3", "state"), ("11", "12", "state"), ("20", "21", "state")] == [found[:3] for found in rejects(path)]


def test_duplicate_serial_is_refused(command: CommandLine, tmp_path: Path) -> None:
    """A file with a duplicate serial is refused."""
    path = changed(file(tmp_path / "notes.csv", NOTES, ROWS), 9, "serial", "1404000000000017")

    refuse(command, path)

    assert [("9", "10", "serial", "DUPLICATE")] == rejects(path)


def test_distant_duplicate_is_found(command: CommandLine, tmp_path: Path) -> None:
    """A duplicate serial is found across read batches."""
    path = changed(file(tmp_path / "notes.csv", NOTES, 1500), 1400, "serial", "1404000000000017")

    refuse(command, path)

    assert [("1400", "1401", "serial", "DUPLICATE")] == rejects(path)


def test_invalid_utf8_is_reported_by_row(command: CommandLine, tmp_path: Path) -> None:
    """Invalid UTF-8 is reported with its row."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    lines = path.read_bytes().split(b"\n")
    lines[5] = lines[5].replace(lines[5].split(b",")[3], b"\xc3\x28")
    path.write_bytes(b"\n".join(lines))

    refuse(command, path)

    assert [("5", "6", "obligor_name", "NOT_UTF8")] == rejects(path)


@pytest.mark.parametrize("cut", [b",", b"\n", b" "], ids=["a field", "the line end", "half a field"])
def test_truncated_file_is_refused(command: CommandLine, tmp_path: Path, cut: bytes) -> None:
    """A file that ends within a row is refused, even where what is left of the row would be valid."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(cut)])

    assert f"line {ROWS + 1}: the file ends within this row, so it may be cut off" in refuse(command, path)
    assert not left_over(command, path)


@pytest.mark.parametrize("content", [b'"unclosed', b'"a"b,c\n', b"\x00"])
def test_invalid_csv_is_reported_by_line(command: CommandLine, tmp_path: Path, content: bytes) -> None:
    """A file that is not CSV is refused with the line."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    path.write_bytes(path.read_bytes() + content)

    assert "line 22: " in refuse(command, path)
    assert not left_over(command, path)


def test_reload_changes_nothing(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """Loading the same file again changes nothing, and is no error."""
    loads = [
        ("promissory", "load-notes", file(tmp_path / "notes.csv", NOTES, 1100)),
        ("promissory", "load-agencies", SAMPLES / "agencies.csv"),
        ("judiciary", "load-cases", file(tmp_path / "cases.csv", CASES, 1100)),
    ]
    first = [command(*load, "--cut-at", NOW, "--json").json for load in loads]
    once = facts(sandbox.promissory().store), facts(sandbox.judiciary().store)

    again = [command(*load, "--cut-at", NOW, "--json") for load in loads]

    assert [{key: result.json[key] for key in ("loaded", "feed", "number", "load")} for result in again] == [
        {key: result[key] for key in ("loaded", "feed", "number", "load")} for result in first
    ]
    assert all(result.code == 0 and result.json["already_loaded"] for result in again)
    assert once == (facts(sandbox.promissory().store), facts(sandbox.judiciary().store))


def test_failed_load_keeps_coverage(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A failed load does not change coverage."""
    good, bad = file(tmp_path / "good.csv", CASES, ROWS), file(tmp_path / "bad.csv", CASES, ROWS)
    changed(bad, 3, "kind", "LOST")
    command("judiciary", "load-cases", good, "--replace", "--cut-at", NOW)
    before = facts(sandbox.judiciary().store)

    result = command("judiciary", "load-cases", bad, "--since", "1399-01-01", "--cut-at", NOW, "--json")

    assert (1, 0, 1) == (result.code, result.json["loaded"], result.json["rejected"])
    assert before == facts(sandbox.judiciary().store)


@pytest.mark.parametrize(
    ("option", "text", "problem"),
    [
        ("--since", "soon", DateProblem.NOT_A_DATE),
        ("--since", "1399-13-01", DateProblem.NO_SUCH_DAY),
        ("--since", "99-01-01", DateProblem.YEAR_WITHOUT_FOUR_DIGITS),
        ("--since", "0024-05-01", DateProblem.YEAR_OUT_OF_RANGE),
        ("--since", "1299-12-29", DateProblem.BEFORE_1300),
        ("--since", "2199-01-01", DateProblem.AFTER_TODAY),
        ("--since", "1499-01-01", DateProblem.AFTER_TODAY),
        ("--tracking-since", "1499-01-01", DateProblem.AFTER_TODAY),
        ("--cut-at", "now", DateProblem.NOT_AN_INSTANT),
        ("--cut-at", "2026-01-01", DateProblem.NOT_AN_INSTANT),
        ("--cut-at", "1405-01-01T00:00", DateProblem.NO_TIME_ZONE),
        ("--cut-at", "05-01-01T00:00Z", DateProblem.YEAR_WITHOUT_FOUR_DIGITS),
    ],
)
def test_invalid_declaration_is_refused(
    command: CommandLine, tmp_path: Path, option: str, text: str, problem: DateProblem
) -> None:
    """An invalid declaration is refused with its reason, before the file is read."""
    cut_at = () if option == "--cut-at" else ("--cut-at", NOW)
    result = command("judiciary", "load-cases", tmp_path / "missing.csv", *cut_at, option, text)
    as_json = command("judiciary", "load-cases", tmp_path / "missing.csv", *cut_at, option, text, "--json")

    assert (2, f"{option} {text}: {problem.en}\n") == (result.code, result.err)
    texts = {"description": problem.en, "description_fa": problem.fa}
    assert [{"field": option, "rule": problem.name, **texts}] == as_json.json["fields"]
    assert f"{option}: {problem.fa}" == as_json.json["message_fa"]


def test_rejects_file_replaces_no_other_file(command: CommandLine, tmp_path: Path) -> None:
    """A file that is not one of rejected rows is neither deleted nor overwritten by --rejects."""
    good = file(tmp_path / "good.csv", CASES, ROWS)
    other = tmp_path / "receipt.json"
    other.write_text("evidence", "utf-8")
    before = facts(command.sandbox.judiciary().store)

    for path in (other, good, tmp_path / "missing" / "rejects.csv"):
        result = command("judiciary", "load-cases", good, "--cut-at", NOW, "--rejects", path)
        assert (2, True) == (result.code, str(path) in result.err)
    assert "evidence" == other.read_text("utf-8")
    assert good.exists()
    assert before == facts(command.sandbox.judiciary().store)


def test_old_rejects_file_is_removed(command: CommandLine, tmp_path: Path) -> None:
    """A successful load removes the rejects file of an earlier attempt."""
    path = changed(file(tmp_path / "notes.csv", NOTES, ROWS), 7, "state", "LOST")
    refuse(command, path)
    changed(path, 7, "state", "SETTLED")

    result = command("promissory", "load-notes", path, "--cut-at", NOW, "--json")

    assert {
        "loaded": ROWS,
        "rejected": 0,
        "changed": 1,
        "unchanged": ROWS - 1,
        "load": 2,
    }.items() <= result.json.items()
    assert not path.with_name("notes.csv.rejects.csv").exists()


def test_parquet_equals_csv(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A Parquet file loads to the same facts as the CSV file."""
    rows = file(tmp_path / "cases.csv", CASES, 500)
    texts = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(cases.CASES.columns, pa.string()))
    table = pyarrow.csv.read_csv(rows, convert_options=texts)
    days = table.column("filed_on").cast(pa.date32())
    parquet.write_table(table.set_column(2, "filed_on", days), tmp_path / "cases.parquet")

    result = command("judiciary", "load-cases", tmp_path / "cases.parquet", "--cut-at", NOW, "--json")
    again = command("judiciary", "load-cases", rows, "--replace", "--cut-at", NOW, "--json")

    assert (500, 500) == (result.json["loaded"], result.json["added"])
    assert (500, 500) == (again.json["loaded"], again.json["unchanged"])


def test_invalid_parquet_row_is_reported(command: CommandLine, tmp_path: Path) -> None:
    """An invalid row of a Parquet file is reported."""
    table = pa.table({name: ["1", "2", None] for name in notes.NOTES.columns})
    parquet.write_table(table, tmp_path / "notes.parquet")

    refuse(command, tmp_path / "notes.parquet")

    assert ["1", "2", "3"] == [row for row, *_ in rejects(tmp_path / "notes.parquet")]


def test_truncated_register_is_refused(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A whole file that lacks most rows is refused with the number of rows to allow, and loads with it."""
    path = file(tmp_path / "notes.csv", NOTES, 5)
    load = ("promissory", "load-notes", path, "--replace", "--cut-at", NOW)
    before = facts(sandbox.promissory().store)

    dry = command(*load, "--dry-run")
    refused = command(*load)

    assert (1, 1) == (dry.code, refused.code)
    assert "would change 0 and remove 15 of 20 stored rows of the feed, more than 1 %" in refused.err
    assert before == facts(sandbox.promissory().store)
    assert command(*load, "--allow-removals", "14").code == 1
    assert command(*load, "--allow-removals", "15").code == 0
    found = facts(sandbox.promissory().store)
    assert (5, ROWS - 5) == (len(found["note"]), len(found["former_subject"]))


def test_dry_run_reports_the_same(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A dry run prints what the load would change, and the load then does just that."""
    path = changed(file(tmp_path / "notes.csv", NOTES, ROWS + 5), 7, "state", "SETTLED")
    before = facts(sandbox.promissory().store), sorted(tmp_path.iterdir())

    dry = command("promissory", "load-notes", path, "--cut-at", NOW, "--dry-run", "--json").json

    assert before == (facts(sandbox.promissory().store), sorted(tmp_path.iterdir()))
    done = command("promissory", "load-notes", path, "--cut-at", NOW, "--json").json
    assert (5, 1, 19, 0) == (done["added"], done["changed"], done["unchanged"], done["removed"])
    assert dry == done | {"load": None, "dry_run": True}


def test_dry_run_leaves_no_rejects(command: CommandLine, tmp_path: Path) -> None:
    """A dry run of a file with an invalid row reports it, and leaves no file."""
    path = changed(file(tmp_path / "notes.csv", NOTES, ROWS), 7, "state", "LOST")
    before = sorted(tmp_path.iterdir())

    result = command("promissory", "load-notes", path, "--cut-at", NOW, "--dry-run", "--json")

    assert (1, 1) == (result.code, result.json["rejected"])
    assert result.json["first_reject"].startswith(
        "row 7, line 8, column state: is none of the known words; give GRADUALLY_SETTLED or"
    )
    assert before == sorted(tmp_path.iterdir())


def test_file_without_rows_gets_a_warning(command: CommandLine, tmp_path: Path) -> None:
    """A file of blank lines below its header is loaded with a warning; one whose manifest states no rows, without."""
    path = file(tmp_path / "notes.csv", NOTES, 0)
    path.write_bytes(path.read_bytes() + b"\n\n")
    result = command("promissory", "load-notes", path, "--cut-at", NOW)
    warned = (result.code, "has no row below its header" in result.err)
    path.write_bytes(path.read_bytes() + b"\n")
    assert command("load", "manifest", path, "--feed", "notes", "--cut-at", NOW, "--number", "3").code == 0
    declared = command("promissory", "load-notes", path)

    assert (0, True) == warned
    assert (0, "") == (declared.code, declared.err)


def test_a_missing_file_is_named(command: CommandLine, tmp_path: Path) -> None:
    """A data file that does not exist is what the message is about, not its manifest."""
    path = tmp_path / "notes.csv"
    for cut_at in ((), ("--cut-at", NOW)):
        result = command("promissory", "load-notes", path, *cut_at)
        assert (2, f"{path}: no such file or directory\n") == (result.code, result.err)


def test_a_load_states_the_coverage_after_it(command: CommandLine, tmp_path: Path) -> None:
    """A load, a dry run and a repeated load print from when on and up to when the store is complete, if it is."""
    path = file(tmp_path / "cases.csv", CASES, ROWS)
    words = ("judiciary", "load-cases", path, "--cut-at", NOW, "--json")
    shown = ("covered_since", "tracking_since", "data_as_of")
    undeclared = command(*words)
    given = ("--replace", "--since", "1399-01-01", "--tracking-since", "1400-01-01")
    dry, loaded, again = (command(*words, *given, *more) for more in (["--dry-run"], [], []))

    assert [None] * len(shown) == [undeclared.json[name] for name in shown]
    assert "no coverage is declared yet" in undeclared.err
    for result in (dry, loaded, again):
        assert (0, "") == (result.code, result.err)
        assert ["2020-03-20", "2021-03-21", "2026-06-01T08:30:00Z"] == [result.json[name] for name in shown]


CASE = "1405000000000018,CIVIL,2026-04-30,2026-05-01T09:30:00+03:30,140500000000000018,,{drawer},DRAWER\n"


def case_file(path: Path, *drawers: str) -> Path:
    """Write a file of one case with these drawers."""
    header, _, _ = CASES.read_text("utf-8").partition("\n")
    path.write_text(f"{header}\n" + "".join(CASE.format(drawer=drawer) for drawer in drawers), "utf-8")
    return path


def test_undeclared_tracking_gets_a_warning(command: CommandLine, tmp_path: Path) -> None:
    """A load after which each NO by tracking id is refused says so, and what it says to do works."""
    path = case_file(tmp_path / "cases.csv", "9990000069")
    words = ("judiciary", "load-cases", path, "--cut-at", NOW)
    first = command(*words, "--replace")
    empty = command(
        "judiciary", "load-cases", case_file(tmp_path / "0.csv"), *words[3:], "--tracking-since", "1400-01-01"
    )
    again = command(*words, "--replace", "--tracking-since", "1400-01-01", "--json")

    assert (0, True) == (first.code, "(TRACKING_UNDECLARED)" in first.err)
    assert "load the last such file again with --tracking-since DATE" in first.err
    assert (1, True) == (empty.code, "last such file may be loaded again with them" in empty.err)
    assert (0, "", "2021-03-21") == (again.code, again.err, again.json["tracking_since"])


def test_merged_parties_get_a_warning(command: CommandLine, tmp_path: Path) -> None:
    """A delta that adds a drawer to a stored case says so, dry or not; declared as replaced, it corrects the case."""
    given = ("--cut-at", NOW, "--json")
    first = case_file(tmp_path / "1.csv", "9990000069")
    command("judiciary", "load-cases", first, *given, "--replace", "--tracking-since", "1400-01-01")
    words = ("judiciary", "load-cases", case_file(tmp_path / "2.csv", "9990000050"), *given)
    corrected = ("--parties", "replaced", "--allow-removals", "1")
    dry, merged, replaced = (command(*words, *more) for more in (["--dry-run"], [], corrected))

    for result in (dry, merged):
        assert (0, 1, 0) == (result.code, result.json["cases_of_several_files"], result.json["changed"])
        assert "1 case now has parties of both this file and earlier ones" in result.err
    assert (0, "", 1) == (replaced.code, replaced.err, replaced.json["parties_dropped"])


def test_rejects_in_json(command: CommandLine, tmp_path: Path) -> None:
    """The JSON lists the first hundred rejected rows, with texts in both languages, and the count of all."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS)
    changed(path, 2, "issued_on", "99-01-01")
    changed(path, 7, "state", "LOST")
    result = command("promissory", "load-notes", path, "--cut-at", NOW, "--json").json

    assert [(2, 3, "issued_on"), (7, 8, "state")] == [
        (each["row"], each["line"], each["column"]) for each in result["rejected_rows"]
    ]
    assert (2, "YEAR_WITHOUT_FOUR_DIGITS") == (result["rejected"], result["rejected_rows"][0]["reason"])
    assert "سال آن چهار رقم ندارد" in result["rejected_rows"][0]["message_fa"]


def test_manifest_declares_the_file(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A file with a manifest needs no options and takes none; a gap in the numbers is refused with the expected one."""
    path = file(tmp_path / "notes.csv", NOTES, ROWS + 1)
    before = facts(sandbox.promissory().store)
    manifest = ("load", "manifest", path, "--feed", "notes", "--cut-at", NOW, "--number")

    assert command(*manifest, "3").code == 0
    assert "leave out --cut-at" in command("promissory", "load-notes", path, "--cut-at", NOW).err
    assert "expected number 2" in command("promissory", "load-notes", path).err
    assert "remove it first" in command(*manifest, "2").err
    assert before == facts(sandbox.promissory().store)
    (tmp_path / "notes.csv.manifest.json").unlink()
    assert command(*manifest, "۲").code == 0

    done = command("promissory", "load-notes", path, "--json").json
    assert (1, "notes", 2) == (done["added"], done["feed"], done["number"])
    listed = command("load", "list", "promissory", "--json").json
    assert [(2, "delta", ROWS + 1), (1, "whole", ROWS)] == [(r["number"], r["kind"], r["rows"]) for r in listed]


def test_file_under_a_feed_of_another_kind_is_refused(command: CommandLine, sandbox: Sandbox) -> None:
    """A list of agencies can't be loaded as a file of notes, whose coverage it would declare."""
    before = facts(sandbox.promissory().store)

    refused = command("promissory", "load-agencies", SAMPLES / "agencies.csv", "--feed", "notes", "--cut-at", NOW)

    assert (1, True) == (refused.code, "the feed notes takes no file of members: expected members" in refused.err)
    assert before == facts(sandbox.promissory().store)


def test_load_without_cut_off_is_refused(command: CommandLine, tmp_path: Path) -> None:
    """A file without manifest and cut-off is refused: when the command runs says nothing of the data."""
    result = command("promissory", "load-notes", file(tmp_path / "notes.csv", NOTES, ROWS + 1))

    assert (2, True) == (result.code, "notes.csv.manifest.json: no such file" in result.err)


def test_required_signature_is_verified(
    command: CommandLine, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the settings name a feed's signer, only a file with a manifest signed by it is loaded."""
    signers = {"notes": str(sandbox.pki / "promissory-receipts.crt")}
    monkeypatch.setenv("ESTELAM_PROMISSORY_FEED_SIGNERS", json.dumps(signers))
    path, cut_at = file(tmp_path / "notes.csv", NOTES, ROWS + 1), datetime.now(UTC).isoformat()
    load, manifest = ("promissory", "load-notes", path), ("load", "manifest", path, "--feed", "notes", "--number", "2")

    assert "require signed manifests" in command(*load, "--cut-at", cut_at).err
    assert command(*manifest, "--cut-at", cut_at).code == 0
    assert "require a signature by the signer of notes" in command(*load).err
    (tmp_path / "notes.csv.manifest.json").unlink()
    key = sandbox.pki / "promissory-receipts.key"
    assert command(*manifest, "--cut-at", cut_at, "--sign-key", key).code == 0

    assert command(*load).code == 0


def test_a_take_over_from_a_signed_feed_is_signed(command: CommandLine, tmp_path: Path, monkeypatch: Any) -> None:
    """A file without a signed manifest takes over no records of a feed whose files are signed."""
    monkeypatch.setenv("ESTELAM_PROMISSORY_FEED_SIGNERS", json.dumps({"notes": "unread.crt"}))
    path = file(tmp_path / "notes.csv", NOTES, ROWS)

    load = ("promissory", "load-notes", path, "--feed", "notes-b", "--take-over", "notes", "--cut-at", NOW)

    assert "no such file; the settings require signed manifests of notes" in command(*load).err


@pytest.mark.slow
def test_killed_load_leaves_nothing(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A load killed while it reads leaves nothing that disturbs the next load."""
    header, *rows = CASES.read_text("utf-8").splitlines()
    path = tmp_path / "cases.csv"
    path.write_text("\n".join([header, *(f"{n}{row}" for n in range(10, 40) for row in rows)]), "utf-8")
    staged = sandbox.folder / "judiciary" / "loading.db"
    before = facts(sandbox.judiciary().store)
    words: list[str | Path] = [*COMMAND, "judiciary", "load-cases", path, "--cut-at", NOW, "--json"]
    with subprocess.Popen(words, env=environment(sandbox), stdout=subprocess.DEVNULL) as loader:
        while not (staged.exists() and staged.stat().st_size > 1_000_000):
            assert loader.poll() is None
            time.sleep(0.001)
        loader.kill()
    assert staged.exists()
    assert before == facts(sandbox.judiciary().store)

    assert command("judiciary", "load-cases", file(path, CASES, ROWS), "--cut-at", NOW).code == 0

    assert ROWS == len(facts(sandbox.judiciary().store)["cheque_case"])
    assert ["facts.db", "ledger.db", "subjects.keys"] == sorted(
        found.name for found in staged.parent.iterdir() if found.suffix in {".db", ".keys"}
    )


def test_full_store_is_reported(
    command: CommandLine, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store without space is reported as such."""

    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("database or disk is full"))

    monkeypatch.setattr(merge.Merge, "run", fail)

    words = refuse(command, file(tmp_path / "notes.csv", NOTES, ROWS + 1))

    assert "the store can't be written: database or disk is full; nothing was changed" in words


def test_future_cut_off_is_refused(command: CommandLine, sandbox: Sandbox, tmp_path: Path) -> None:
    """A cut-off in the future is refused."""
    before = facts(sandbox.judiciary().store)

    result = command(
        "judiciary", "load-cases", file(tmp_path / "c.csv", CASES, ROWS), "--cut-at", "2099-01-01T00:00:00Z"
    )

    assert (1, True) == (result.code, "is in the future" in result.err)
    assert before == facts(sandbox.judiciary().store)
