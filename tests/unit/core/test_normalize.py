"""The human edge."""

from datetime import UTC, date, datetime, timedelta

import pytest

from estelam.core import normalize

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("۹۹۹۰۰۰۰۰۱۸", "9990000018"),
        ("٩٩٩٠٠٠٠٠١٨", "9990000018"),
        (" 999-000001-8 ", "9990000018"),
        ("999\u200c0000\u200e018", "9990000018"),
        ("1404 0000 0000 0017", "1404000000000017"),
        ("999000001²", "999000001²"),
    ],
)
def test_digits_are_folded_and_separators_dropped_but_nothing_is_repaired(typed: str, meant: str) -> None:
    assert meant == normalize.normalize_digits(typed)


def test_a_code_keeps_its_hyphen() -> None:
    assert normalize.normalize_identifier("\u200fSETAD-۰۰۰۱ ") == "SETAD-0001"


@pytest.mark.parametrize("typed", ["2,500,000,000", "۲٬۵۰۰٬۰۰۰٬۰۰۰", "۲،۵۰۰،۰۰۰،۰۰۰", "2 500 000 000"])
def test_an_amount_is_read_with_any_separators(typed: str) -> None:
    assert normalize.parse_amount(typed) == 2_500_000_000


@pytest.mark.parametrize("typed", ["", "x", "1e9", "²", "1" * 20, "ده", "2.5", "۲/۵", "۲٫۵", "-5"])
def test_what_is_no_amount_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        normalize.parse_amount(typed)


@pytest.mark.parametrize("typed", ["1400-01-01", "۱۴۰۰/۰۱/۰۱", "2021-03-21"])
def test_a_day_is_read_in_either_calendar(typed: str) -> None:
    assert date(2021, 3, 21) == normalize.parse_date(typed)


@pytest.mark.parametrize("typed", ["1402-12-30", "2023-02-29", "1400-13-01", "yesterday", ""])
def test_a_day_that_never_was_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the calendar's own words
        normalize.parse_date(typed)


def test_an_instant_names_its_zone_or_is_now() -> None:
    assert normalize.parse_instant("now", NOW) == NOW
    assert datetime(2026, 1, 1, tzinfo=UTC) == normalize.parse_instant("2026-01-01T03:30:00+03:30", NOW)
    with pytest.raises(ValueError, match="zone"):
        normalize.parse_instant("2026-01-01T00:00:00", NOW)


@pytest.mark.parametrize(
    ("typed", "minutes"), [("2h", 120), ("۹۰m", 90), ("1h30m", 90), ("90s", 1.5), ("2026-11-23T15:40:00+03:30", 10)]
)
def test_a_moment_to_come_is_an_instant_or_how_long_from_now(typed: str, minutes: float) -> None:
    assert NOW + timedelta(minutes=minutes) == normalize.parse_deadline(typed, NOW)


@pytest.mark.parametrize("typed", ["", "2", "h", "2h soon", "-1h", "2d"])
def test_what_is_no_moment_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the calendar's own words
        normalize.parse_deadline(typed, NOW)


def test_a_date_is_shown_as_people_in_iran_read_it() -> None:
    assert normalize.format_jalali(date(2021, 3, 21)) == "1400-01-01"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("۴۱", 41),
        ("1405-09-03", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 23, 20, 30, tzinfo=UTC)),
        ("2026-11-24T00:00:00+00:00", datetime(2026, 11, 24, tzinfo=UTC)),
        ("now", NOW),
    ],
)
def test_a_moment_is_a_loads_number_or_a_day_from_its_first_minute_in_tehran_or_an_instant(
    typed: str, meant: int | datetime
) -> None:
    assert normalize.parse_load_or_instant(typed, NOW) == meant
