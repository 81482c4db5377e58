"""Normalization of human input."""

from datetime import UTC, date, datetime, timedelta

import pytest

from estelam.core import normalize

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("۹۹۹۰۰۰۰۰۱۸", "9990000018"),
        ("٩٩٩٠٠٠٠٠١٨", "9990000018"),
        (" 999-000001-8 ", "9990000018"),
        ("999\u200c0000\u200e018", "9990000018"),
        ("1404 0000 0000 0017", "1404000000000017"),
        ("999000001²", "999000001²"),
    ],
)
def test_digits(typed: str, expected: str) -> None:
    """Digits are converted and separators removed, and nothing else is changed."""
    assert expected == normalize.normalize_digits(typed)


def test_identifier_keeps_hyphen() -> None:
    """An identifier with letters keeps its hyphen."""
    assert normalize.normalize_identifier("\u200fSETAD-۰۰۰۱ ") == "SETAD-0001"


@pytest.mark.parametrize("typed", ["2,500,000,000", "۲٬۵۰۰٬۰۰۰٬۰۰۰", "۲،۵۰۰،۰۰۰،۰۰۰", "2 500 000 000"])
def test_amount(typed: str) -> None:
    """An amount is parsed with any separators of thousands."""
    assert normalize.parse_amount(typed) == 2_500_000_000


@pytest.mark.parametrize("typed", ["", "x", "1e9", "²", "1" * 20, "ده", "2.5", "۲/۵", "۲٫۵", "-5"])
def test_bad_amount(typed: str) -> None:
    """Anything but a whole number is refused as an amount."""
    with pytest.raises(ValueError, match="whole number"):
        normalize.parse_amount(typed)


@pytest.mark.parametrize("typed", ["1400-01-01", "۱۴۰۰/۰۱/۰۱", "2021-03-21"])
def test_date(typed: str) -> None:
    """A date is parsed in either calendar."""
    assert date(2021, 3, 21) == normalize.parse_date(typed)


@pytest.mark.parametrize("typed", ["1402-12-30", "2023-02-29", "1400-13-01", "yesterday", ""])
def test_bad_date(typed: str) -> None:
    """A date that does not exist is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - the calendar's own words
        normalize.parse_date(typed)


def test_instant() -> None:
    """An instant has a time zone, or is "now"."""
    assert normalize.parse_instant("now", NOW) == NOW
    assert datetime(2026, 1, 1, tzinfo=UTC) == normalize.parse_instant("2026-01-01T03:30:00+03:30", NOW)
    with pytest.raises(ValueError, match="zone"):
        normalize.parse_instant("2026-01-01T00:00:00", NOW)


@pytest.mark.parametrize(
    ("typed", "minutes"), [("2h", 120), ("۹۰m", 90), ("1h30m", 90), ("90s", 1.5), ("2026-11-23T15:40:00+03:30", 10)]
)
def test_deadline(typed: str, minutes: float) -> None:
    """A deadline is an instant or a duration from now."""
    assert NOW + timedelta(minutes=minutes) == normalize.parse_deadline(typed, NOW)


@pytest.mark.parametrize("typed", ["", "2", "h", "2h soon", "-1h", "2d"])
def test_bad_deadline(typed: str) -> None:
    """Anything else is refused as a deadline."""
    with pytest.raises(ValueError):  # noqa: PT011 - the calendar's own words
        normalize.parse_deadline(typed, NOW)


def test_jalali_format() -> None:
    """A date is formatted in the Jalali calendar."""
    assert normalize.format_jalali(date(2021, 3, 21)) == "1400-01-01"


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
    assert normalize.parse_load_or_instant(typed, NOW) == expected
