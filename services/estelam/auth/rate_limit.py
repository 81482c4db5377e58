"""Rate limits: a token bucket for each caller and method, whose state the caller may see.

Calls are admitted in one thread, and charged for the cost of a NO in another.
"""

import math
import random
import threading
from collections.abc import Callable, Hashable, MutableSequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from estelam.auth.grants import MAX_SHOWN, Quota
from estelam.core.clock import Clock
from estelam.core.errors import QuotaState, Reason, Refusal

# Callers who have had their turn are forgotten once a throttle knows so many.
MAX_CALLERS: Final = 1024
MAX_AHEAD_SECONDS: Final = 1.0
"""By how much the clocks of two processes of a host may seem to differ."""


@dataclass(slots=True)
class TokenBucket:
    """The tokens left at a monotonic instant."""

    quota: Quota
    state: "MutableSequence[float] | memoryview[float]"
    """The tokens, and the monotonic seconds of the last refill."""
    lock: AbstractContextManager[object] = field(default_factory=threading.Lock, repr=False, compare=False)

    @classmethod
    def full(cls, quota: Quota, now: float) -> "TokenBucket":
        """Return a full bucket of this process."""
        return cls(quota, [float(quota.burst), now])

    @property
    def tokens(self) -> float:
        """The tokens left; below 0 after answers NO that cost more than one."""
        return float(self.state[0])

    @tokens.setter
    def tokens(self, value: float) -> None:
        self.state[0] = value

    def refill(self, now: float) -> None:
        """Add the tokens regained since the last refill; *now* is in monotonic seconds."""
        with self.lock:
            tokens, filled = self.state
            # Another process may have filled it a moment later. Far ahead is an instant before a restart of the host.
            if (elapsed := now - filled) > 0 or elapsed < -MAX_AHEAD_SECONDS:
                self.state[0] = min(float(self.quota.burst), tokens + max(0.0, elapsed) * self.quota.rate)
                self.state[1] = now


BucketMaker = Callable[[Hashable, str, Quota, float], TokenBucket]
"""Returns the bucket of a caller, a method and a quota at a monotonic instant; a new one is full."""


def _own_bucket(_caller: Hashable, _policy: str, quota: Quota, now: float) -> TokenBucket:
    return TokenBucket.full(quota, now)


class RateLimiter:
    """The token buckets of callers. A changed quota starts with a full bucket.

    Args:
        clock: The clock.
        make: Makes buckets; by default they are this process's own.
        hosts: The hosts that serve: each gives this part of a quota's rate and burst.
    """

    def __init__(self, clock: Clock, make: BucketMaker = _own_bucket, hosts: int = 1) -> None:
        self._clock = clock
        self._make = make
        self._hosts = hosts
        self._lock = threading.Lock()
        self._buckets: dict[tuple[Hashable, str], tuple[Quota, TokenBucket]] = {}

    def bucket(self, caller: Hashable, policy: str, quota: Quota) -> TokenBucket:
        """Return the bucket of one caller and method, refilled."""
        with self._lock:
            now = self._clock.monotonic()
            granted, bucket = self._buckets.get((caller, policy), (None, None))
            if bucket is None or granted is not quota:
                if bucket is None or granted != quota:
                    bucket = self._make(caller, policy, quota.divided(self._hosts), now)
                self._buckets[caller, policy] = quota, bucket
            bucket.refill(now)
        return bucket

    def acquire(self, caller: Hashable, policy: str, quota: Quota) -> TokenBucket:
        """Take one token from the bucket of one caller and method, and return the bucket.

        Raises:
            Refusal: QUOTA_EXHAUSTED, with the bucket's state and the seconds until the next token.
        """
        bucket = self.bucket(caller, policy, quota)
        acquire(bucket, policy)
        return bucket


class Throttle:
    """Spaces what a caller gets without a quota, as refusals: each costs about as much as an answer.

    A caller who keeps sending, on any number of connections, gets *burst* at once, and then one per *gap_seconds*.
    """

    def __init__(self, clock: Clock, *, gap_seconds: float = 0.01, burst: int = 20) -> None:
        self._clock = clock
        self._gap = gap_seconds
        self._ahead = burst * gap_seconds
        self._lock = threading.Lock()
        self._next: dict[Hashable, float] = {}
        """When the next turn of each caller would be, if there were no bursts."""

    def delay(self, caller: Hashable, most: float) -> float:
        """Return the seconds, at *most*, by which to delay the next reply to *caller*."""
        with self._lock:
            now = self._clock.monotonic()
            if len(self._next) >= MAX_CALLERS:
                self._next = {each: turn for each, turn in self._next.items() if turn > now}
            turn = max(now, self._next.get(caller, now))
            self._next[caller] = min(turn, now + most + self._ahead) + self._gap
        delay = max(0.0, turn - self._ahead - now)
        # Spread, so that not all replies that wait as long as may be are sent at the same time.
        return delay if delay < most else most * random.uniform(0.5, 1)  # noqa: S311 - no secret


def acquire(bucket: TokenBucket, policy: str) -> None:
    """Take one token from *bucket*.

    Raises:
        Refusal: QUOTA_EXHAUSTED, with the bucket's state and the seconds until the next token.
    """
    with bucket.lock:
        if bucket.tokens < 1:
            raise Refusal(Reason.QUOTA_EXHAUSTED, quota=bucket_state(bucket, policy))
        bucket.tokens -= 1


def charge_refusal(bucket: TokenBucket) -> None:
    """Take one token, if there is one, for a request that was refused before it was to be answered."""
    with bucket.lock:
        bucket.tokens = min(bucket.tokens, max(0.0, bucket.tokens - 1))


def charge_miss(bucket: TokenBucket) -> None:
    """Charge the cost of an answer NO beyond the first token; the balance may become negative."""
    with bucket.lock:
        bucket.tokens -= bucket.quota.miss_cost - 1


def bucket_state(bucket: TokenBucket, policy: str) -> QuotaState:
    """Return the state of *bucket* as the caller sees it."""
    quota = bucket.quota
    return QuotaState(
        policy=policy,
        limit=quota.burst,
        remaining=max(0, math.floor(bucket.tokens)),
        reset_seconds=min(MAX_SHOWN, math.ceil((quota.burst - bucket.tokens) / quota.rate)),
        retry_seconds=max(0.0, (1 - bucket.tokens) / quota.rate),
    )
