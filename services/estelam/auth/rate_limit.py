"""How much a caller may ask: a token bucket for each caller and method, whose state is never a secret."""

import math
from dataclasses import dataclass

from estelam.auth.grants import Quota
from estelam.core.clock import Clock
from estelam.core.errors import QuotaState, Reason, Refusal


@dataclass(slots=True)
class TokenBucket:
    """Tokens left, as of a monotonic instant."""

    quota: Quota
    tokens: float
    filled: float

    def refill(self, now: float) -> None:
        """Add what has come back since the bucket was last looked at."""
        self.tokens = min(self.quota.burst, self.tokens + (now - self.filled) * self.quota.rate)
        self.filled = now


class RateLimiter:
    """The buckets of one process. A changed quota starts with a full bucket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str], TokenBucket] = {}

    def bucket(self, caller: str, policy: str, quota: Quota) -> TokenBucket:
        """The bucket of one caller and method, refilled."""
        now = self._clock.monotonic()
        bucket = self._buckets.get((caller, policy))
        if bucket is None or bucket.quota is not quota:
            if bucket is None or bucket.quota != quota:
                bucket = TokenBucket(quota, float(quota.burst), now)
            self._buckets[caller, policy] = bucket
        bucket.refill(now)
        return bucket

    def acquire(self, caller: str, policy: str, quota: Quota) -> TokenBucket:
        """Take one token.

        Raises:
            Refusal: QUOTA_EXHAUSTED, with the state of the quota and when to come back.
        """
        bucket = self.bucket(caller, policy, quota)
        acquire(bucket, policy)
        return bucket


class RefusalThrottle:
    """Lets the refusals of one caller go one after another: refusing costs about as much as answering does.

    A caller who presses on after a refusal, on however many calls at once, gets no more of them than this.
    """

    def __init__(self, clock: Clock, *, gap_seconds: float = 0.01) -> None:
        self._clock = clock
        self._gap = gap_seconds
        self._next: dict[str, float] = {}

    def delay(self, caller: str, most: float) -> float:
        """For how many seconds, at *most*, the next refusal of *caller* is to be kept back."""
        now = self._clock.monotonic()
        turn = min(max(now, self._next.get(caller, now)), now + most)
        self._next[caller] = turn + self._gap
        return turn - now


def acquire(bucket: TokenBucket, policy: str) -> None:
    """Take one token from *bucket*.

    Raises:
        Refusal: QUOTA_EXHAUSTED, with the state of the quota and when to come back.
    """
    if bucket.tokens < 1:
        raise Refusal(Reason.QUOTA_EXHAUSTED, quota=bucket_state(bucket, policy))
    bucket.tokens -= 1


def charge_miss(bucket: TokenBucket) -> None:
    """Take what an answer NO costs beyond the first token; the bucket may go below nothing."""
    bucket.tokens -= bucket.quota.miss_cost - 1


def bucket_state(bucket: TokenBucket, policy: str) -> QuotaState:
    """What the caller may know of *bucket*."""
    quota = bucket.quota
    return QuotaState(
        policy=policy,
        limit=quota.burst,
        remaining=max(0, math.floor(bucket.tokens)),
        reset_seconds=math.ceil((quota.burst - bucket.tokens) / quota.rate),
        retry_seconds=max(0.0, (1 - bucket.tokens) / quota.rate),
    )
