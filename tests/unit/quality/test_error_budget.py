"""The error budget of a period: what may fail in all of it, what has, and how fast."""

import pytest

from quality.evaluation.error_budget import ErrorBudget, error_budget
from quality.evaluation.minute_states import ABSENT, EXCHANGE, PLANNED, PROVIDER, UNKNOWN, UNMEASURED, UP


def minutes(**states: int) -> bytes:
    known = {"up": UP, "provider": PROVIDER, "exchange": EXCHANGE, "unknown": UNKNOWN, "planned": PLANNED}
    known |= {"unmeasured": UNMEASURED, "absent": ABSENT}
    return b"".join(bytes([known[name]]) * count for name, count in states.items())


@pytest.mark.parametrize(
    ("at_least", "passed", "left", "expected"),
    [
        (99.0, minutes(up=490, provider=5, exchange=3, unknown=2), 500, ErrorBudget(10.0, 10, 2.0)),
        (99.0, minutes(up=1000), 0, ErrorBudget(10.0, 0, 0.0)),
        (99.0, minutes(up=495, provider=5, planned=100, absent=300), 500, ErrorBudget(10.0, 5, 1.0)),
        (99.0, minutes(up=245, provider=5, unmeasured=250), 500, ErrorBudget(10.0, 5, 1.0)),
        (100.0, minutes(up=9, provider=1), 0, ErrorBudget(0.0, 1, None)),
        (99.0, b"", 1000, ErrorBudget(10.0, 0, None)),
    ],
)
def test_error_budget(at_least: float, passed: bytes, left: int, expected: ErrorBudget) -> None:
    """Announced outages and minutes out of service are no part of the period; the time to come is."""
    assert expected == error_budget(at_least, passed, left)
