"""Jalali months, as Iran's clocks count them, and histograms that add up."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quality import histogram
from quality.periods import Month, MonthError


def test_aban_1405_begins_at_irans_midnight() -> None:
    assert datetime(2026, 10, 22, 20, 30, tzinfo=UTC).timestamp() == Month(1405, 8).first_minute * 60
    assert Month(1405, 8).end_minute == Month(1405, 9).first_minute


def test_the_day_on_which_the_clock_was_set_forward_has_23_hours_and_the_other_25() -> None:
    odd = {end - first for number in (1, 6) for _, first, end in Month(1401, number).day_minutes()}

    assert odd == {1380, 1440, 1500}


def test_a_leap_esfand_has_30_days_and_another_29() -> None:
    assert [len(Month(year, 12).days()) for year in (1403, 1404)] == [30, 29]


@pytest.mark.parametrize(
    "instant", [datetime(2026, 10, 22, 20, 30, tzinfo=UTC), datetime(2026, 11, 21, 20, 29, tzinfo=UTC)]
)
def test_an_instant_lies_in_the_month_that_it_is_in_iran(instant: datetime) -> None:
    assert Month.of(instant) == Month(1405, 8)


@pytest.mark.parametrize(
    "text", ["1405-13", "1405-00", "1405-8", "۱۴۰۵-۰۸", "2026-11", "", "-", "1405-08-01", "1" * 10_000]
)
def test_what_names_no_month_is_refused(text: str) -> None:
    with pytest.raises(MonthError):
        Month.parse(text)


@given(st.integers(0, 2**32 - 1))
def test_a_bucket_flatters_no_latency_and_blackens_none_by_more_than_a_sixteenth(micros: int) -> None:
    assert micros <= histogram.upper_edge(histogram.bucket(micros)) <= micros * 17 / 16


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20), st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_two_histograms_kept_and_added_are_the_histogram_of_both(one: list[int], other: list[int]) -> None:
    def kept(latencies: list[int]) -> dict[int, int]:
        counts: dict[int, int] = {}
        for micros in latencies:
            counts[histogram.bucket(micros)] = counts.get(histogram.bucket(micros), 0) + 1
        return histogram.unpack(histogram.pack(counts))

    assert kept(one + other) == dict(
        histogram.unpack(histogram.pack(kept(one))) + histogram.unpack(histogram.pack(kept(other)))
    )
