"""How likely it is that identifiers look rounded by chance."""

from math import comb

import pytest

from estelam.core.rounding import RoundingCount


def count(digits: int, rounded: int, total: int) -> RoundingCount:
    found = RoundingCount()
    found.add_identifiers(digits, total)
    found.count = rounded
    return found


@pytest.mark.parametrize("digits", [16, 17, 18])
@pytest.mark.parametrize("total", [1, 2, 5, 50, 400])
def test_the_chance_is_never_understated(digits: int, total: int) -> None:
    """The stated chance is at least that of the binomial distribution, and equal where all identifiers look rounded."""
    p = 10.0 ** (15 - digits)
    for rounded in range(1, total + 1):
        exact = sum(comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(rounded, total + 1))

        assert 10 ** count(digits, rounded, total).log_chance >= exact * (1 - 1e-6)
    assert count(digits, total, total).log_chance == pytest.approx(total * (15 - digits))


def test_short_identifiers_are_not_counted() -> None:
    """A spreadsheet keeps 15 digits, so that an identifier of no more is never rounded."""
    assert count(15, 0, 1000).log_chance == 0
    assert count(15, 0, 1000).total == 0
