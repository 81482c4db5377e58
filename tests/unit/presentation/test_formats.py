"""Formats of dates and numbers on pages and papers."""

from datetime import UTC, date, datetime

import pytest

from estelam.presentation.formats import Formats
from estelam.presentation.style import FONT, inline_style


@pytest.mark.parametrize(
    ("language", "day", "minute", "second", "count", "share"),
    [
        ("fa", "۱۴۰۵/۰۹/۰۹", "۱۴۰۵/۰۹/۰۹ ساعت ۰۰:۳۰", "۱۴۰۵/۰۹/۰۹ ساعت ۰۰:۳۰:۰۵", "۱٬۲۳۴", "\u2066۹۹٫۹۹٪\u2069"),
        (
            "en",
            "1405-09-09 (2026-11-30)",
            "1405-09-09 00:30 (2026-11-30)",
            "1405-09-09 00:30:05 (2026-11-30)",
            "1,234",
            "\u206699.99%\u2069",
        ),
    ],
)
def test_formats(language: str, day: str, minute: str, second: str, count: str, share: str) -> None:
    """A date is Jalali, with the ISO date beside it in English; a percentage is cut, so that it never reads as 100."""
    formats, now = Formats(language), datetime(2026, 11, 29, 21, 0, 5, tzinfo=UTC)

    assert (day, minute, second) == (formats.day(date(2026, 11, 30)), formats.instant(now), formats.second(now))
    assert (count, share) == (formats.count(1234), formats.share(99.999))


@pytest.mark.parametrize("language", ["fa", "en"])
def test_no_jalali_date(language: str) -> None:
    """An instant that no Jalali year contains is in ISO 8601."""
    end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert "9999-12-31T23:59:59+00:00" == Formats(language).second(end)


def test_font_inside() -> None:
    """A document in one file contains the font; it names no file."""
    assert "url(data:font/woff2;base64," in inline_style()
    assert FONT not in inline_style()
