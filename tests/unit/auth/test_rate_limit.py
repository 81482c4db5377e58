"""Token buckets, by a clock that the test moves."""

import pytest

from estelam.auth.grants import Quota
from estelam.auth.rate_limit import RateLimiter, RefusalThrottle, bucket_state, charge_miss
from estelam.core.clock import Clock
from estelam.core.errors import Reason, Refusal


class Hand:
    """A clock's hand, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now)


def test_a_burst_passes_and_the_next_is_refused_with_the_time_to_wait() -> None:
    hand, quota = Hand(), Quota(rate=2, burst=3)
    quotas = RateLimiter(hand.clock)
    for _ in range(3):
        quotas.acquire("caller", "CheckNote", quota)

    with pytest.raises(Refusal) as caught:
        quotas.acquire("caller", "CheckNote", quota)

    assert caught.value.reason == Reason.QUOTA_EXHAUSTED
    assert caught.value.retry_seconds == 0.5
    assert caught.value.quota is not None
    assert (caught.value.quota.limit, caught.value.quota.remaining, caught.value.quota.reset_seconds) == (3, 0, 2)


def test_after_the_time_named_the_caller_is_served_again() -> None:
    hand, quota = Hand(), Quota(rate=2, burst=1)
    quotas = RateLimiter(hand.clock)
    quotas.acquire("caller", "CheckNote", quota)
    hand.now += 0.5

    assert bucket_state(quotas.acquire("caller", "CheckNote", quota), "CheckNote").remaining == 0


def test_callers_and_methods_have_buckets_of_their_own() -> None:
    quota = Quota(rate=1, burst=1)
    quotas = RateLimiter(Hand().clock)

    for caller, method in (("a", "x"), ("a", "y"), ("b", "x")):
        quotas.acquire(caller, method, quota)


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    hand, quota = Hand(), Quota(rate=1000, burst=2)
    quotas = RateLimiter(hand.clock)
    quotas.acquire("caller", "CheckNote", quota)
    hand.now += 3600

    assert bucket_state(quotas.acquire("caller", "CheckNote", quota), "CheckNote").remaining == 1


def test_a_miss_costs_what_the_grant_says_and_can_overdraw_the_bucket() -> None:
    hand, quota = Hand(), Quota(rate=1, burst=5, miss_cost=20)
    quotas = RateLimiter(hand.clock)
    bucket = quotas.acquire("caller", "CheckNote", quota)
    charge_miss(bucket)

    assert bucket.tokens == -15
    with pytest.raises(Refusal) as caught:
        quotas.acquire("caller", "CheckNote", quota)
    assert caught.value.retry_seconds == 16


def test_a_changed_quota_begins_with_a_full_bucket() -> None:
    quotas = RateLimiter(Hand().clock)
    quotas.acquire("caller", "CheckNote", Quota(rate=1, burst=1))

    assert bucket_state(quotas.acquire("caller", "CheckNote", Quota(rate=1, burst=9)), "CheckNote").remaining == 8


def test_refusals_of_one_caller_go_one_after_another_and_hold_up_no_other() -> None:
    hand = Hand()
    pace = RefusalThrottle(hand.clock, gap_seconds=0.25)

    assert [pace.delay("hasty", 10) for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    assert pace.delay("other", 10) == 0
    hand.now += 2
    assert pace.delay("hasty", 10) == 0


def test_no_refusal_is_kept_back_longer_than_its_caller_waits() -> None:
    pace = RefusalThrottle(Hand().clock, gap_seconds=0.25)

    assert [pace.delay("hasty", 0.5) for _ in range(5)] == [0, 0.25, 0.5, 0.5, 0.5]
