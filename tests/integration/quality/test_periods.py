"""Jalali months, as Iran's clocks count them, and histograms that add up."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estelam.telemetry import histogram
from quality.periods import Month, MonthError


def test_month_bounds() -> None:
    """A month begins at midnight in Iran and ends where the next one begins."""
    assert datetime(2026, 10, 22, 20, 30, tzinfo=UTC).timestamp() == Month(1405, 8).first_minute * 60
    assert Month(1405, 8).end_minute == Month(1405, 9).first_minute


def test_day_length_on_clock_changes() -> None:
    """A day on which the clock changes has 23 or 25 hours."""
    odd = {end - first for number in (1, 6) for _, first, end in Month(1401, number).day_minutes()}

    assert odd == {1380, 1440, 1500}


def test_esfand_length() -> None:
    """Esfand has 30 days in a leap year and 29 in another."""
    assert [len(Month(year, 12).days()) for year in (1403, 1404)] == [30, 29]


@pytest.mark.parametrize(
    "instant", [datetime(2026, 10, 22, 20, 30, tzinfo=UTC), datetime(2026, 11, 21, 20, 29, tzinfo=UTC)]
)
def test_month_of_instant(instant: datetime) -> None:
    """The month of an instant is that of its local time in Iran."""
    assert Month.of(instant) == Month(1405, 8)


@pytest.mark.parametrize(
    "text", ["1405-13", "1405-00", "05-08", "1405-008", "2026-11", "", "-", "1405-08-01", "1" * 10_000]
)
def test_malformed_month(text: str) -> None:
    """A text that is not a month raises MonthError."""
    with pytest.raises(MonthError):
        Month.parse(text)


@given(st.integers(0, 2**32 - 1))
def test_bucket_error_bound(micros: int) -> None:
    """A bucket's upper edge is never below its latencies and at most 1/16 above them."""
    assert micros <= histogram.upper_edge(histogram.bucket(micros)) <= micros * 17 / 16


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20), st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_histograms_add_up(one: list[int], other: list[int]) -> None:
    """The sum of two stored histograms is the histogram of all their latencies."""

    def kept(latencies: list[int]) -> dict[int, int]:
        counts: dict[int, int] = {}
        for micros in latencies:
            counts[histogram.bucket(micros)] = counts.get(histogram.bucket(micros), 0) + 1
        return histogram.unpack(histogram.pack(counts))

    assert kept(one + other) == dict(
        histogram.unpack(histogram.pack(kept(one))) + histogram.unpack(histogram.pack(kept(other)))
    )
