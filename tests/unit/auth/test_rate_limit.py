"""Rate limits, on a clock that the test sets."""

import pytest

from estelam.auth.grants import Quota
from estelam.auth.rate_limit import RateLimiter, RefusalThrottle, bucket_state, charge_miss
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal


class ManualTime:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now)


def test_call_beyond_burst_is_refused_with_retry_delay() -> None:
    """The call after a full burst is refused with the bucket's state and the seconds until the next token."""
    time, quota = ManualTime(), Quota(rate=2, burst=3)
    limiter = RateLimiter(time.clock)
    for _ in range(3):
        limiter.acquire("caller", "CheckNote", quota)

    with pytest.raises(Refusal) as caught:
        limiter.acquire("caller", "CheckNote", quota)

    assert caught.value.reason == Reason.QUOTA_EXHAUSTED
    assert caught.value.retry_seconds == 0.5
    assert caught.value.quota is not None
    assert (caught.value.quota.limit, caught.value.quota.remaining, caught.value.quota.reset_seconds) == (3, 0, 2)


def test_call_succeeds_after_retry_delay() -> None:
    """After the retry delay one more token is available."""
    time, quota = ManualTime(), Quota(rate=2, burst=1)
    limiter = RateLimiter(time.clock)
    limiter.acquire("caller", "CheckNote", quota)
    time.now += 0.5

    assert bucket_state(limiter.acquire("caller", "CheckNote", quota), "CheckNote").remaining == 0


def test_buckets_are_separate() -> None:
    """Each pair of caller and method has its own bucket."""
    quota = Quota(rate=1, burst=1)
    limiter = RateLimiter(ManualTime().clock)

    for caller, method in (("a", "x"), ("a", "y"), ("b", "x")):
        limiter.acquire(caller, method, quota)


def test_bucket_holds_at_most_burst() -> None:
    """A bucket never holds more tokens than its burst, however long it refills."""
    time, quota = ManualTime(), Quota(rate=1000, burst=2)
    limiter = RateLimiter(time.clock)
    limiter.acquire("caller", "CheckNote", quota)
    time.now += 3600

    assert bucket_state(limiter.acquire("caller", "CheckNote", quota), "CheckNote").remaining == 1


def test_miss_can_overdraw_bucket() -> None:
    """An answer NO costs the grant's miss cost, also below zero tokens."""
    time, quota = ManualTime(), Quota(rate=1, burst=5, miss_cost=20)
    limiter = RateLimiter(time.clock)
    bucket = limiter.acquire("caller", "CheckNote", quota)
    charge_miss(bucket)

    assert bucket.tokens == -15
    with pytest.raises(Refusal) as caught:
        limiter.acquire("caller", "CheckNote", quota)
    assert caught.value.retry_seconds == 16


def test_changed_quota_starts_full() -> None:
    """A changed quota starts with a full bucket."""
    limiter = RateLimiter(ManualTime().clock)
    limiter.acquire("caller", "CheckNote", Quota(rate=1, burst=1))

    assert bucket_state(limiter.acquire("caller", "CheckNote", Quota(rate=1, burst=9)), "CheckNote").remaining == 8


def test_refusals_are_spaced_per_caller() -> None:
    """Refusals of one caller are spaced by the gap, and delay no other caller."""
    time = ManualTime()
    throttle = RefusalThrottle(time.clock, gap_seconds=0.25)

    assert [throttle.delay("busy", 10) for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    assert throttle.delay("other", 10) == 0
    time.now += 2
    assert throttle.delay("busy", 10) == 0


def test_refusal_delay_is_bounded() -> None:
    """No refusal is delayed longer than the given maximum."""
    throttle = RefusalThrottle(ManualTime().clock, gap_seconds=0.25)

    assert [throttle.delay("busy", 0.5) for _ in range(5)] == [0, 0.25, 0.5, 0.5, 0.5]
