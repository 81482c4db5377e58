"""What a declared coverage promises, compared with another."""

from datetime import UTC, date, datetime

import pytest

from estelam.storage.coverage import Coverage

EARLY, LATE = date(2021, 3, 21), date(2022, 3, 21)
OLD, NEW = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other", "is_deeper"),
    [
        (Coverage(LATE, OLD), None, True),
        (Coverage(EARLY, OLD), Coverage(EARLY, OLD), False),
        (Coverage(EARLY, OLD), Coverage(LATE, OLD), True),
        (Coverage(LATE, OLD), Coverage(EARLY, OLD), False),
        (Coverage(EARLY, NEW), Coverage(EARLY, OLD), True),
        (Coverage(EARLY, OLD), Coverage(EARLY, NEW), False),
        (Coverage(EARLY, OLD, EARLY), Coverage(EARLY, OLD, EARLY), False),
        (Coverage(EARLY, OLD, EARLY), Coverage(EARLY, OLD, LATE), True),
        (Coverage(EARLY, OLD, LATE), Coverage(EARLY, OLD, EARLY), False),
        (Coverage(EARLY, OLD, LATE), Coverage(EARLY, OLD), True),
        (Coverage(EARLY, OLD), Coverage(EARLY, OLD, LATE), False),
        (Coverage(LATE, OLD), Coverage(EARLY, NEW, EARLY), False),
    ],
)
def test_deeper(one: Coverage, other: Coverage | None, *, is_deeper: bool) -> None:
    """Coverage is deeper with an earlier date or newer data; without a date of links it promises none."""
    assert is_deeper == one.is_deeper_than(other)
