"""Texts of pages: instants in each language."""

from datetime import UTC, datetime

from estelam.web.rendering import instant


def test_instant() -> None:
    """An instant is shown in Tehran's time in the language's calendar; one that has none there, in ISO 8601."""
    now, end = datetime(2026, 11, 29, 21, 0, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)

    assert "30 November 2026, 00:30:00 Tehran time" == instant(now, "en")
    assert "۱۴۰۵/۰۹/۰۹، ساعت ۰۰:۳۰:۰۰" == instant(now, "fa")
    assert {"9999-12-31T23:59:59+00:00"} == {instant(end, "en"), instant(end, "fa")}
