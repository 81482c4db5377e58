"""Rate limits, on a clock that the test sets."""

import pytest

from estelam.auth.grants import Quota
from estelam.auth.rate_limit import MAX_CALLERS, RateLimiter, Throttle, bucket_state, charge_miss, charge_refusal
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


def test_hosts_divide_a_quota() -> None:
    """Each of several hosts gives its part of rate and burst, and at least one call."""
    time, granted = ManualTime(), Quota(rate=3, burst=7, miss_cost=20)
    limiter, small = RateLimiter(time.clock, hosts=3), RateLimiter(time.clock, hosts=9)
    bucket = limiter.acquire("caller", "CheckNote", granted)
    time.now += 0.5

    assert (bucket.quota, bucket.tokens) == (Quota(rate=1, burst=2, miss_cost=20), 1)
    assert limiter.bucket("caller", "CheckNote", granted).tokens == 1.5
    assert small.bucket("caller", "CheckNote", granted).quota.burst == 1


def test_charged_refusals_leave_no_debt() -> None:
    """A refusal takes a token where there is one; a debt, of a NO, stays as it is."""
    limiter, quota = RateLimiter(ManualTime().clock), Quota(rate=1, burst=2, miss_cost=20)
    bucket = limiter.bucket("caller", "CheckNote", quota)
    tokens = []
    for charge in (charge_refusal, charge_refusal, charge_refusal, charge_miss, charge_refusal):
        charge(bucket)
        tokens.append(bucket.tokens)

    assert [1, 0, 0, -19, -19] == tokens


def test_replies_are_spaced_per_caller() -> None:
    """Replies to one caller are spaced by the gap once the burst is used up, and delay no other caller."""
    time = ManualTime()
    throttle = Throttle(time.clock, gap_seconds=0.25, burst=2)

    assert [throttle.delay("busy", 10) for _ in range(6)] == [0, 0, 0, 0.25, 0.5, 0.75]
    assert throttle.delay("other", 10) == 0
    time.now += 1.25
    assert [throttle.delay("busy", 10) for _ in range(2)] == [0, 0.0]
    time.now += 10
    assert [throttle.delay("busy", 10) for _ in range(4)] == [0, 0, 0, 0.25]


def test_delay_is_bounded() -> None:
    """No reply is delayed longer than the given maximum, and those that would be do not all leave together."""
    throttle = Throttle(ManualTime().clock, gap_seconds=0.25, burst=0)
    delays = [throttle.delay("busy", 0.5) for _ in range(50)]

    assert [0, 0.25] == delays[:2]
    assert 0.25 <= min(delays[2:])
    assert max(delays) <= 0.5
    assert len(set(delays)) > 40


def test_callers_are_forgotten() -> None:
    """A throttle that knows many callers forgets those who have had their turn, and no other."""
    time = ManualTime()
    throttle = Throttle(time.clock, gap_seconds=1, burst=0)
    for number in range(MAX_CALLERS):
        throttle.delay(number, 10)
    time.now += 0.5
    throttle.delay(0, 10)
    time.now += 0.75
    throttle.delay("new", 10)

    assert throttle.delay(0, 10) == 0.75
    assert throttle.delay(1, 10) == 0
