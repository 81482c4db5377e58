"""Parsing of dates and instants in both calendars."""

import contextlib
import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from google.type.date_pb2 import Date
from hypothesis import given
from hypothesis import strategies as st
from persiantools.jdatetime import JalaliDate

from estelam.core import dates
from estelam.core.clock import TEHRAN
from estelam.core.dates import DateError, DateProblem
from tools.commands.generate_protos import ROOT

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

PERSIAN, ARABIC = (str.maketrans("0123456789", digits) for digits in ("۰۱۲۳۴۵۶۷۸۹", "٠١٢٣٤٥٦٧٨٩"))
forms = st.tuples(st.sampled_from("-/"), st.sampled_from([{}, PERSIAN, ARABIC]), st.sampled_from(["", "0"]))
jalali_days = st.builds(
    lambda year, day: JalaliDate(year, 1, 1) + timedelta(days=day),  # type: ignore[no-untyped-call]
    st.integers(1200, 1499),
    st.integers(0, 365),
)


def written(year: int, month: int, day: int, form: tuple[str, dict[int, int], str]) -> str:
    """The date in *form*: separator, digits, and whether month and day have two digits."""
    separator, digits, width = form
    parts = (f"{year:04}", f"{month:{width and '02'}}", f"{day:{width and '02'}}")
    return separator.join(parts).translate(digits)


def problem_of(text: str) -> DateProblem:
    """Why *text* is refused as a date."""
    with pytest.raises(DateError) as refused:
        dates.parse_date(text)
    return refused.value.problem


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)), forms)
def test_gregorian(day: date, form: tuple[str, dict[int, int], str]) -> None:
    """A Gregorian date is read in every form."""
    assert day == dates.parse_date(written(day.year, day.month, day.day, form))


@given(jalali_days, forms)
def test_jalali(day: JalaliDate, form: tuple[str, dict[int, int], str]) -> None:
    """A Jalali date is read in every form, and formatting it gives it back."""
    parsed = dates.parse_date(written(day.year, day.month, day.day, form))

    assert day.to_gregorian() == parsed
    assert f"{day.year}-{day.month:02}-{day.day:02}" == dates.format_jalali(parsed)


@given(st.integers(0, 9999).filter(lambda year: not (1200 <= year <= 1500 or 1900 <= year <= 2199)), forms)
def test_other_years(year: int, form: tuple[str, dict[int, int], str]) -> None:
    """A year of neither range is refused, whatever month and day."""
    assert DateProblem.YEAR_OUT_OF_RANGE == problem_of(written(year, 5, 12, form))


@given(st.integers(0, 999) | st.integers(10_000, 10**40), forms)
def test_other_lengths_of_year(year: int, form: tuple[str, dict[int, int], str]) -> None:
    """A year without four digits is refused, so 99 is neither 1399 nor 1999."""
    separator, digits, _ = form

    text = separator.join((str(year), "01", "01")).translate(digits)

    assert DateProblem.YEAR_WITHOUT_FOUR_DIGITS == problem_of(text)


@pytest.mark.parametrize(
    "text",
    ["1399-13-01", "1404-00-01", "1404-01-32", "1402-12-30", "1404-07-31", "2023-02-29", "2026-04-31", "2026-1-0"],
)
def test_no_such_day(text: str) -> None:
    """A day that its calendar lacks is refused, with the reason and nothing of the calendar library."""
    assert DateProblem.NO_SUCH_DAY == problem_of(text)
    with pytest.raises(DateError) as refused:
        dates.parse_date(text)
    assert DateProblem.NO_SUCH_DAY.en == str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "now",
        "1404-05",
        "1404-05/12",
        "14040512",
        "12/05/1404",
        "1404-05-012",
        "-1404-05-12",
        "1404-05-12 ب",
        "1404.05.12",
        "2026-W12-1",
        "2026-11-30T00:00:00Z",
        "²026-01-01",
        "1404 05 12",
    ],
)
def test_not_a_date(text: str) -> None:
    """A text of another form is refused."""
    assert DateProblem.NOT_A_DATE == problem_of(text)


@given(st.text(max_size=30) | st.from_regex(r"[0-9۰-۹]{1,5}[-/][0-9]{1,3}[-/][0-9]{1,3}"))
def test_any_text(text: str) -> None:
    """Any text is a date of the accepted years or is refused; there is no other outcome."""
    day = None
    with contextlib.suppress(DateError):
        day = dates.parse_date(text)

    assert day is None or 1821 <= day.year <= 2199


def test_invisible_characters() -> None:
    """A date pasted with direction marks is the date that is seen."""
    assert date(2025, 8, 3) == dates.parse_date("\u200f\u061c۱۴۰۴/۰۵/۱۲\u200e ")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(1406, 1, 1), date(2027, 3, 21)),
        (date(2027, 3, 21), date(2027, 3, 21)),
        ("1406-02-31", date(2027, 5, 21)),
        (date(1700, 1, 1), DateProblem.YEAR_OUT_OF_RANGE),
        (date(24, 5, 1), DateProblem.YEAR_OUT_OF_RANGE),
        (date(1404, 12, 30), DateProblem.NO_SUCH_DAY),
        (datetime(2027, 3, 21, tzinfo=UTC), DateProblem.NOT_A_DATE),
        (20270321, DateProblem.NOT_A_DATE),
        (None, DateProblem.NOT_A_DATE),
    ],
)
def test_value(value: object, expected: date | DateProblem) -> None:
    """A date that a file format took for Gregorian is read by the same rule as a text."""
    if isinstance(expected, date):
        assert expected == dates.parse_date_value(value)
    else:
        with pytest.raises(DateError) as refused:
            dates.parse_date_value(value)
        assert expected == refused.value.problem


def test_past_date() -> None:
    """A date of something that has happened may be a day after today in Iran, and no more."""
    evening = datetime(2026, 11, 23, 22, tzinfo=UTC)  # already 2026-11-24 in Iran
    assert date(2026, 11, 24) == dates.today(evening)
    assert date(2026, 11, 25) == dates.parse_past_date("1405-09-04", evening)
    with pytest.raises(DateError) as refused:
        dates.parse_past_date("2026-11-26", evening)
    assert DateProblem.AFTER_TODAY == refused.value.problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1300-01-01", date(1921, 3, 21)),
        ("1399/1/1", date(2020, 3, 20)),
        ("2026-11-23", date(2026, 11, 23)),
        ("1299-12-29", DateProblem.BEFORE_1300),
        ("1921-03-20", DateProblem.BEFORE_1300),
        ("2026-11-24", DateProblem.AFTER_TODAY),
        ("1499-01-01", DateProblem.AFTER_TODAY),
    ],
)
def test_since(text: str, expected: date | DateProblem) -> None:
    """Data is declared complete from a day between 1300-01-01 and today in Iran."""
    if isinstance(expected, date):
        assert expected == dates.parse_since(text, NOW)
    else:
        with pytest.raises(DateError) as refused:
            dates.parse_since(text, NOW)
        assert expected == refused.value.problem


@given(
    jalali_days,
    forms,
    st.times().map(lambda time: time.replace(microsecond=0)),
    st.integers(-1439, 1439),
    st.sampled_from("T "),
)
def test_instant(day: JalaliDate, form: tuple[str, dict[int, int], str], time: object, minutes: int, by: str) -> None:
    """An instant is read in either calendar and any zone."""
    zone = timezone(timedelta(minutes=minutes))
    expected = datetime.fromisoformat(f"{day.to_gregorian()}T{time}").replace(tzinfo=zone)
    offset = expected.strftime("%z")
    text = f"{written(day.year, day.month, day.day, form)}{by}{time}{offset[:3]}:{offset[3:5]}"

    assert expected == dates.parse_instant(text.translate(form[1]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        (" NOW ", NOW),
        ("2026-01-01T03:30:00+03:30", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01 00:00z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("1405-09-09T7:05+0330", datetime(2026, 11, 30, 3, 35, tzinfo=UTC)),
        ("2026-01-01T00:00:00", DateProblem.NO_TIME_ZONE),
        ("2026-01-01", DateProblem.NOT_AN_INSTANT),
        ("2026-01-01T24:00Z", DateProblem.NOT_AN_INSTANT),
        ("2026-01-01T00:00+24:00", DateProblem.NOT_AN_INSTANT),
        ("26-01-01T00:00Z", DateProblem.YEAR_WITHOUT_FOUR_DIGITS),
        ("0026-01-01T00:00Z", DateProblem.YEAR_OUT_OF_RANGE),
        ("1405-13-01T00:00Z", DateProblem.NO_SUCH_DAY),
        ("", DateProblem.NOT_AN_INSTANT),
    ],
)
def test_instant_forms(text: str, expected: datetime | DateProblem) -> None:
    """An instant has a date, a time and a zone, or is "now"; everything else is refused with the reason."""
    if isinstance(expected, datetime):
        assert expected == dates.parse_instant(text, NOW)
    else:
        with pytest.raises(DateError) as refused:
            dates.parse_instant(text, NOW)
        assert expected == refused.value.problem


def test_now_only_where_allowed() -> None:
    """Without a present instant, "now" is refused."""
    with pytest.raises(DateError):
        dates.parse_instant("now")


@pytest.mark.parametrize("text", ["1405/8/12 22:00", "۱۴۰۵-۰۸-۱۲ ۲۲:۰۰", "2026-11-03 22:00:00", "2026-11-03T22:00"])
def test_local_time(text: str) -> None:
    """A time without a zone is one in Tehran."""
    assert datetime(2026, 11, 3, 22, tzinfo=TEHRAN) == dates.parse_local_time(text)


@pytest.mark.parametrize(
    "text",
    ["", "1405-08-12", "1405-13-01 10:00", "1405-08-12 25:00", "1405-08-12 10:0x", "٣" * 10_000, "1405-8-12 1:1"],
)
def test_bad_local_time(text: str) -> None:
    """A text that is not a time in Tehran is refused, as is one with a zone."""
    for malformed in (text, f"{text}Z"):
        with pytest.raises(DateError):
            dates.parse_local_time(malformed)


@pytest.mark.parametrize(
    ("typed", "minutes"), [("2h", 120), ("۹۰m", 90), ("1h30m", 90), ("90s", 1.5), ("2026-11-23T15:40:00+03:30", 10)]
)
def test_deadline(typed: str, minutes: float) -> None:
    """A deadline is an instant or a duration from now."""
    assert NOW + timedelta(minutes=minutes) == dates.parse_deadline(typed, NOW)


@pytest.mark.parametrize("typed", ["", "2", "h", "2h soon", "-1h", "2d"])
def test_bad_deadline(typed: str) -> None:
    """Anything else is refused as a deadline."""
    with pytest.raises(DateError):
        dates.parse_deadline(typed, NOW)


@pytest.mark.parametrize(("typed", "minutes"), [("24h", 1440), ("۹۰m", 90), ("1H30M", 90), ("0s", 0)])
def test_duration(typed: str, minutes: int) -> None:
    """A duration has hours, minutes and seconds."""
    assert timedelta(minutes=minutes) == dates.parse_duration(typed)


@pytest.mark.parametrize("typed", ["", "24", "now", "1d", "-1h", "1405-09-09T12:00+03:30"])
def test_bad_duration(typed: str) -> None:
    """An instant and everything else is refused as a duration."""
    with pytest.raises(DateError) as refused:
        dates.parse_duration(typed)

    assert DateProblem.NOT_A_DURATION is refused.value.problem


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("۴۱", 41),
        ("1405-09-03", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
        ("2026-11-24T00:00:00+00:00", datetime(2026, 11, 24, tzinfo=UTC)),
        ("now", NOW),
    ],
)
def test_load_or_instant(typed: str, expected: int | datetime) -> None:
    """It is the number of a load, a date from its first minute in Tehran, or an instant."""
    assert dates.parse_load_or_instant(typed, NOW) == expected


def test_reasons() -> None:
    """Every reason is one line in English and in Persian, and the text of its error."""
    for problem in DateProblem:
        assert (problem.en.isascii(), problem.en.isprintable()) == (True, True)
        assert any("\u0600" <= letter <= "\u06ff" for letter in problem.fa)
        assert problem.en == str(DateError(problem))


def test_both_calendars() -> None:
    """A date is shown in both calendars."""
    assert "1400-01-01 (2021-03-21)" == dates.format_both(date(2021, 3, 21))


def test_day_of_an_instant() -> None:
    """The day of an instant is Iran's, which begins 3 hours and a half before that of UTC."""
    assert "1405-09-09 (2026-11-30)" == dates.format_day(datetime(2026, 11, 29, 20, 30, tzinfo=UTC))
    assert "1405-09-08 (2026-11-29)" == dates.format_day(datetime(2026, 11, 29, 20, 29, tzinfo=UTC))


def test_no_day_of_utc() -> None:
    """No code takes the day of an instant in UTC."""
    texts = {path: path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py")}

    assert [] == [
        path for path, text in texts.items() if re.search(r"(now|utcnow|to_datetime|UTC)\([^()]*\)+\.date\(", text)
    ]


def test_minute_in_both_calendars() -> None:
    """A minute is shown in Iran's time, with its date in both calendars."""
    assert "1405-09-09 00:30 (2026-11-30)" == dates.format_minute(datetime(2026, 11, 29, 21, 0, tzinfo=UTC))


EDGES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(622, 3, 21, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
]


@pytest.mark.parametrize("instant", EDGES)
def test_outside_the_jalali_years(instant: datetime) -> None:
    """A date or an instant that the Jalali calendar does not have is shown in ISO 8601 alone."""
    iso = instant.isoformat()

    assert [iso] * 2 == [dates.format_second(instant), dates.format_minute(instant)]
    assert [iso[:10]] * 2 == [dates.format_both(instant.date()), dates.format_jalali(instant.date())]


def test_edges_of_the_jalali_years() -> None:
    """The first and the last day of the Jalali calendar are shown in both calendars."""
    assert "0001-01-01 (0622-03-22)" == dates.format_both(date(622, 3, 22))
    assert "9377-12-30 (9999-03-20)" == dates.format_both(date(9999, 3, 20))


def test_wire_date() -> None:
    """A date in a reply is Gregorian; another calendar's year, or a missing or impossible date, is refused."""
    assert date(2021, 3, 21) == dates.from_wire(Date(year=2021, month=3, day=21))
    for year, month, day in ((1400, 1, 1), (0, 0, 0), (2021, 0, 0), (2021, 2, 30), (2200, 1, 1)):
        with pytest.raises(DateError):
            dates.from_wire(Date(year=year, month=month, day=day))
