"""Formats of columns: what is normalized, and what is a reason to reject a row."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from estelam.core.clock import TEHRAN
from estelam.judiciary.v1.cheque_case_inquiry_pb2 import CheckByNationalIdRequest
from estelam.loading.formats import (
    ColumnFormat,
    any_date,
    case_number,
    digits,
    identifier,
    past_date,
    text,
    whole_number,
    word,
)
from estelam.promissory.v1.note_inquiry_pb2 import GetNotePartiesRequest
from tests.support.spreadsheet import SPREADSHEET_VALUES

NOW = datetime(2026, 11, 30, 20, 45, tzinfo=UTC)  # 1 December in Tehran
PERSON = identifier(CheckByNationalIdRequest, "national_id", optional=True)
POSTAL = digits(10, "NOT_A_POSTAL_CODE", optional=True)
INVISIBLE = "\t\n\x00\x7f\x9f\u200e\u202e\u2028\u2066\ufeff\ufe0f"
STATE, NOT_ISSUED = word(frozenset({"ISSUED"})), "NOT_A_KNOWN_WORD: give ISSUED"
AGENCY = identifier(GetNotePartiesRequest, "executive_agency_id", has_letters=True)


def read(column: ColumnFormat, *cells: str) -> list[Any]:
    """The normalized cells, or the reasons for those that are rejected."""
    found, reasons = column.read(pa.array(cells, pa.string()), NOW)
    return [reasons.get(index, cell) for index, cell in enumerate(found.to_pylist())]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        (PERSON, "۹۹۹۰۰۰۰۰۵۰", "9990000050"),
        (PERSON, "٩٩٩٠٠٠٠٠٥٠", "9990000050"),
        (PERSON, "\u00a09990000050 \t", "9990000050"),
        (PERSON, "\u200e9990\u200c000050\u202c", "9990000050"),
        (PERSON, "\u00a0", ""),
        (POSTAL, "۹۹۰۶۱۳۱۳۱۵", "9906131315"),
        (STATE, " ISSUED\u200f", "ISSUED"),
        (PERSON, "999-000005–0", "9990000050"),
        (PERSON, "999 0000 050", "9990000050"),
        (POSTAL, "99061-31315", "9906131315"),
        (AGENCY, "SETAD-۰۰۱", "SETAD-001"),
        (whole_number(), "۲۵۰۰", "2500"),
        (whole_number(), "2,500", "2500"),
        (whole_number(), "۲٬۵۰۰", "2500"),
        (case_number(at_most=9), "۱۴۰۳/ك/۱", "1403/ک/1"),
        (text(), "\u00a0علي كاظمى ", "علی کاظمی"),
        (text(), "می‌خوشه، پلاک ۳۲ «الف» No 5", "می‌خوشه، پلاک ۳۲ «الف» No 5"),
        (text(), "ا\u0653ب", "آب"),
        (text(optional=True), " ", ""),
        (past_date(), "1404/01/26", "2025-04-15"),
        (past_date(), "۱۴۰۴-۱-۲۶", "2025-04-15"),
        (past_date(), " 2025-04-15", "2025-04-15"),
        (any_date(optional=True), "", ""),
        (any_date(), "1478/10/11", "2099-12-31"),
    ],
)
def test_normalized(column: ColumnFormat, cell: str, expected: str) -> None:
    """A cell that can mean one thing only is written in the one way in which it is stored."""
    assert read(column, cell) == [expected]
    assert read(column, expected) == [expected]


@pytest.mark.parametrize("cell", ["12E5", "E-12", "14031E+2", "1403=2", "1403/e+15", "1403/12E5", "1403/2E-12", "#12"])
def test_numbers_of_cases_with_letters(cell: str) -> None:
    """A number of a case may have an E and a sign, as long as a spreadsheet can't have written it."""
    assert read(case_number(at_most=32), cell) == [cell]


@pytest.mark.parametrize("cell", ["12E-34", "1403E-12", "7E-01", "12E34", "1E15", "-1E-05", "E-12"])
def test_ids_of_agencies_with_an_e(cell: str) -> None:
    """Whatever the contract allows is an id of an agency: digits, an E and hyphens in any order."""
    assert [read(AGENCY, cell), read(case_number(at_most=32), cell)] == [[cell], [cell]]


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        (PERSON, "9990000\x00050", "INVISIBLE_CHARACTER"),
        (PERSON, "9990000\n050", "INVISIBLE_CHARACTER"),
        (POSTAL, "123", "NOT_A_POSTAL_CODE"),
        *((STATE, cell, NOT_ISSUED) for cell in ("issued", "F", "")),
        (word(frozenset({"DRAWER", "HOLDER", ""})), "F", "NOT_A_KNOWN_WORD: give DRAWER or HOLDER or nothing"),
        *(
            (column, cell, "SPREADSHEET_VALUE")
            for column in (PERSON, POSTAL, STATE, AGENCY, whole_number(), case_number(at_most=32))
            for cell in (*SPREADSHEET_VALUES, " 1405E+100", '="1405"')
        ),
        (whole_number(), "", "EMPTY"),
        (whole_number(), "2,50", "NOT_A_WHOLE_NUMBER"),
        (PERSON, "99900009", "ZEROS_LOST"),
        (whole_number(), "-5", "NOT_A_WHOLE_NUMBER"),
        (whole_number(), "2500.5", "NOT_A_WHOLE_NUMBER"),
        (whole_number(), "9223372036854775808", "NUMBER_TOO_LARGE"),
        (case_number(at_most=4), "14031", "TOO_LONG"),
        (case_number(at_most=4), "\u200c", "EMPTY"),
        (text(), " \u00a0", "EMPTY"),
        (text(at_most=3), "آرشی", "TOO_LONG"),
        *(
            (text(), f"آرش{character}نمونه", "INVISIBLE_CHARACTER")
            for character in "\t\n\x00\x7f\x9f\u200e\u202e\u2028\u2066\ufeff\ufe0f"
        ),
        (past_date(), "", "EMPTY"),
        (past_date(), "99-01-01", "YEAR_WITHOUT_FOUR_DIGITS"),
        (past_date(), "1700-01-01", "YEAR_OUT_OF_RANGE"),
        (past_date(), "1404-12-30", "NO_SUCH_DAY"),
        (past_date(), "2042-05-01", "AFTER_TODAY"),
        (past_date(), "2025-04-15 10:00:00", "NOT_A_DATE"),
        (past_date(), "1299-12-29", "BEFORE_1300"),
        (past_date(), "1920-01-01", "BEFORE_1300"),
        (any_date(), "1499/01/01", "AFTER_2099"),
        (any_date(), "", "EMPTY"),
        (text(), "آر\ufffd", "REPLACEMENT_CHARACTER"),
    ],
)
def test_rejected(column: ColumnFormat, cell: str, reason: str) -> None:
    """A cell that can mean nothing, or several things, is rejected with a constant reason; the others are not."""
    good = {id(STATE): "ISSUED", id(PERSON): "9990000050", id(POSTAL): "9906131315"}.get(id(column), "2025")
    accepted = read(column, good)

    assert read(column, good, cell, good) == [*accepted, reason, *accepted]


def test_dates_of_the_past() -> None:
    """A date of filing or issue is at most a day after today in Iran."""
    today = NOW.astimezone(TEHRAN).date()
    assert today == date(2026, 12, 1)
    days = [str(today + timedelta(days=days)) for days in (0, 1, 2)]

    assert read(past_date(), *days) == [*days[:2], "AFTER_TODAY"]


def test_bounds_of_iso_dates() -> None:
    """Days before 1300 (Jalali) and after 2099 are refused in columns that are wholly in ISO form, too."""
    days = ["1921-03-20", "1921-03-21", "2099-12-31", "2100-01-01"]

    assert read(any_date(), *days) == ["BEFORE_1300", *days[1:3], "AFTER_2099"]
    assert read(any_date(), *days[1:3]) == days[1:3]
    assert read(any_date(), "1405-09-09") == ["2026-11-30"]


@pytest.mark.parametrize(
    "column", [PERSON, POSTAL, STATE, text(), case_number(at_most=9), whole_number(), past_date(), any_date()]
)
def test_no_rows(column: ColumnFormat) -> None:
    """A batch without rows is read as one with rows is."""
    assert read(column) == []
