"""The lists of bulk checks: what is read rightly, what is refused, and what a spreadsheet has rounded."""

import gzip
import random
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from estelam.cli.bulk.question import Question, Row
from estelam.cli.bulk.table import Rounding, read_rows
from estelam.loading.errors import LoadError
from judiciary.bulk.cheques import CHEQUES
from judiciary.bulk.persons import PERSONS
from promissory.bulk import NOTES
from tests.support.spreadsheet import SPREADSHEET_VALUES

NOW = datetime(2026, 11, 30, tzinfo=UTC)
NOTE = {
    "serial": "1404000000000017",
    "obligor_id": "9990000018",
    "beneficiary_id": "99000554330",
    "amount_rials": 2500000000,
}


def read(folder: Path, text: str | bytes, question: Question = CHEQUES) -> list[Row]:
    """Read a list with the content *text*."""
    path = folder / "list.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_rows(path, question, NOW))


@pytest.mark.parametrize(
    "text",
    [
        "serial,obligor_id,beneficiary_id,amount_rials\n1404000000000017,9990000018,99000554330,2500000000\n",
        "\ufeffSerial;Obligor ID;beneficiary-id;AMOUNT_RIALS\r1404000000000017;9990000018;99000554330;2,500,000,000\r",
        "\n\nserial\tobligor_id\tbeneficiary_id\tamount_rials\n\n۱۴۰۴۰۰۰۰۰۰۰۰۰۰۱۷\t۹۹۹۰۰۰۰۰۱۸\t۹۹۰۰۰۵۵۴۳۳۰\t۲٬۵۰۰٬۰۰۰٬۰۰۰\n\n",
        "amount_rials|name|serial|beneficiary_id|obligor_id\n2500000000|x|1404-00000000-0017|99000554330| 9990000018\n",
        'serial,obligor_id,beneficiary_id,amount_rials\n"1404000000000017","9990000018","99000554330","2,500,000,000"\n',
        "sep=;\r\nserial;obligor_id;beneficiary_id;amount_rials\r\n1404000000000017;9990000018;99000554330;2500000000\r\n",
        "serial,obligor_id,beneficiary_id,amount_rials,,\n1404000000000017,9990000018,99000554330,2500000000,,\n",
    ],
    ids=["plain", "lines that end with CR", "Persian", "other order", "quoted", "hint", "trailing separators"],
)
def test_forms(tmp_path: Path, text: str) -> None:
    """A list is read rightly whatever its separator, its order of columns, its digits and its blank lines."""
    (row,) = read(tmp_path, text, NOTES)

    assert (1, NOTE, "") == (row.place.row, row.cells, row.problem)
    assert NOTES.request(**NOTE) == NOTES.request.FromString(row.request or b"")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("serial", "140400000000001", "FIELD_INVALID"),
        ("serial", "", "FIELD_INVALID"),
        ("serial", "1.404E+15", "SPREADSHEET_VALUE: serial"),
        ("serial", "۱٫۴۰۴e+15", "SPREADSHEET_VALUE: serial"),
        ("serial", "14040000\x000000017", "INVISIBLE_CHARACTER: serial has an invisible or unassigned character"),
        ("obligor_id", "9990000019", "FIELD_INVALID"),
        *(("obligor_id", f'"{value}"', "SPREADSHEET_VALUE: obligor_id") for value in SPREADSHEET_VALUES),
        ("amount_rials", "2500000000.0", "SPREADSHEET_VALUE: amount_rials"),
        ("beneficiary_id", "9.90006E+10", "SPREADSHEET_VALUE: beneficiary_id"),
        ("amount_rials", "2.5E+09", "SPREADSHEET_VALUE: amount_rials"),
        ("amount_rials", "0", "FIELD_INVALID"),
        ("amount_rials", "2500000000.5", "NOT_A_WHOLE_NUMBER: amount_rials is not a whole number"),
        ("amount_rials", "9223372036854775808", "NUMBER_TOO_LARGE: amount_rials is more than"),
        ("amount_rials", "-1", "NOT_A_WHOLE_NUMBER: amount_rials is not a whole number"),
        *(("amount_rials", value, "NOT_A_WHOLE_NUMBER: amount_rials") for value in ("2'5", "25_0", "2 500 00", "2٬5")),
        ("amount_rials", "", "NOT_A_WHOLE_NUMBER: amount_rials is not a whole number"),
    ],
)
def test_refused_row(tmp_path: Path, column: str, value: str, problem: str) -> None:
    """A row with a value that can't be meant is refused with the reason; nothing of it is asked or repeated."""
    cells = {**NOTE, column: value}
    (row,) = read(tmp_path, f"{','.join(cells)}\n{','.join(map(str, cells.values()))}\n", NOTES)

    assert (None, {}, problem) == (row.request, row.cells, row.problem[: len(problem)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tracking_id\n140000000000000001", "line 2: the file ends within this row"),
        ('tracking_id\n"1\n', "line 2"),
        ("tracking_id,tracking_id\n1,2\n", "the header must name"),
        ("tracking_id,certificate_issued_on,certificate issued on\n1,,\n", "the header must name"),
        ("140000000000000001\n", "the header must name each of these columns, once: tracking_id"),
        (
            "tracking_id\n1\n".encode("utf-16"),
            "is in UTF-16, not UTF-8; convert it with: iconv -f UTF-16 ",
        ),
        ("tracking_id\n1\n".encode("utf-16-le"), "is in UTF-16LE, not UTF-8; convert it with: iconv"),
        (
            "tracking_id,نام\n1,الف\n".encode("cp1256"),
            "line 1: reads like Windows-1256, not UTF-8; ",
        ),
        (
            "tracking_id,name\n1,x\n2,الف مثال\n".encode("cp1256"),
            "line 3, column name: reads like Windows-1256, not UTF-8; convert it with: iconv -f WINDOWS-1256 -t UTF-8",
        ),
        ("tracking_id,name\n1,الف\n2,".encode() + b"\xff\n", "line 3: is not UTF-8; save the sheet as CSV in UTF-8"),
        (b"tracking_id\r1\r2\r\xff\r", "line 4: is not UTF-8"),
        (b"PK\x03\x04...", "is a ZIP archive or an Excel workbook; unpack it, or save the sheet as CSV in UTF-8"),
        (b"PAR1...", "is Parquet; write the list as CSV in UTF-8"),
        (gzip.compress(b"tracking_id\n1\n", mtime=0)[:-5], "the gzip data is cut off or damaged"),
    ],
)
def test_refused_list(tmp_path: Path, text: str | bytes, words: str) -> None:
    """A list that may be cut off, or whose cells can't be separated, is refused as a whole."""
    with pytest.raises(LoadError, match=words):
        read(tmp_path, text)


def test_gzip(tmp_path: Path) -> None:
    """A list may be in gzip, as a data file may."""
    (row,) = read(tmp_path, gzip.compress(b"tracking_id\n140000000000000001\n"))

    assert {"tracking_id": "140000000000000001"} == row.cells


def test_lost_zeros(tmp_path: Path) -> None:
    """A national number that a spreadsheet has shortened is named as such, and never completed."""
    ids = ["99900009", "999000004", "9990000018", "99900001", "999000005"]
    rows = read(tmp_path, "\n".join(["national_id", *ids, ""]), PERSONS)
    found = Rounding()
    for row in rows:
        found.add(row)
    (warning,) = found.warnings()

    lost = [
        row.place.row
        for row in rows
        if row.problem.startswith("ZEROS_LOST: national_id is valid with one or two leading zeros")
    ]
    assert [1, 2] == lost
    assert [None, None] == [row.request for row in rows[:2]]
    assert ["", "FIELD_INVALID", "FIELD_INVALID"] == [row.problem[:13] for row in rows[2:]]
    assert warning.startswith("2 rows (1, 2): an identifier is valid with leading zeros, which a spreadsheet drops")


@pytest.mark.parametrize("written", ["1403/12/30", "1403-12-30", "۱۴۰۳/۱۲/۳۰", "2025-03-20", "2025/3/20"])
def test_dates(tmp_path: Path, written: str) -> None:
    """The date of issue is read in both calendars."""
    (row,) = read(tmp_path, f"tracking_id,certificate_issued_on\n1,{written}\n")

    assert (date(2025, 3, 20), "") == (row.day, row.problem)


def rounding(folder: Path, ids: list[str]) -> Rounding:
    """Return what is found in a list of tracking ids."""
    found = Rounding()
    for row in read(folder, "\n".join(["tracking_id", *ids, ""])):
        found.add(row)
    return found


@pytest.mark.parametrize("digits", [16, 18, 20])
def test_rounded_list(tmp_path: Path, digits: int) -> None:
    """A list that a spreadsheet has rounded gets a warning with the number of rows and the first of them."""
    numbers = random.Random(digits)
    ids = [str(numbers.randrange(10**14, 10**15)) + "0" * (digits - 15) for _ in range(12)]
    (warning,) = rounding(tmp_path, ids).warnings()

    assert warning.startswith("12 rows (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...): an identifier ends in zeros")


def test_one_rounded_id(tmp_path: Path) -> None:
    """One rounded identifier of 18 digits among fifty is found: chance makes one in a thousand."""
    ids = [*(f"1403{number:013d}7" for number in range(50)), "140300000000777000"]
    (warning,) = rounding(tmp_path, ids).warnings()

    assert warning.startswith("1 row (51): an identifier ends in zeros")


@pytest.mark.parametrize("digits", [15, 16, 18])
def test_zeros_by_chance(tmp_path: Path, digits: int) -> None:
    """Identifiers whose last digits are random, or that are not long, get no warning."""
    numbers = random.Random(7)
    ids = [str(numbers.randrange(10 ** (digits - 1), 10**digits)) for _ in range(3000)]

    assert [] == list(rounding(tmp_path, ids).warnings())


def test_values_that_a_spreadsheet_made(tmp_path: Path) -> None:
    """Rows with a value that a spreadsheet has made of a number are counted and named."""
    (warning,) = rounding(tmp_path, ["1", "1.4E+17", "1,4E+17", "2"]).warnings()

    assert warning.startswith("1 row (2): a value is what a spreadsheet makes of a long number")
