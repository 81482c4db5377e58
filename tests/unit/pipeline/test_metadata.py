"""The metadata of replies."""

import pytest

from estelam.pipeline import metadata


@pytest.mark.parametrize(("rate", "burst", "window"), [(200.0, 400, 2), (1000.0, 1, 1), (0.5, 3, 6)])
def test_rate_limit_policy(rate: float, burst: int, window: int) -> None:
    """The policy states the seconds in which an empty bucket fills, and at least one: a window of 0 has no meaning."""
    policy = metadata._policy("CheckNote", burst, rate)

    assert f'"CheckNote";q={burst};w={window}' == policy
