"""Rate limits: a token bucket for each organisation and method, whose state is sent to the caller."""

import math
import time
from dataclasses import dataclass

from estelam.core.errors import Reason

from .refusal import Refused


@dataclass(frozen=True)
class Quota:
    """A bucket's size, its refill per second, and the total cost of a NO."""

    rate: float
    burst: int
    miss_cost: int


class TokenBucket:
    """The tokens of one organisation for one method."""

    def __init__(self, name: str, quota: Quota) -> None:
        self.name = name
        self.quota = quota
        self._tokens = float(quota.burst)
        self._refilled_at = time.monotonic()

    def acquire(self) -> None:
        """Take the token that every inquiry costs."""
        self._refill()
        if self._tokens < 1:
            state = f"limit {self.quota.burst}, remaining {self.remaining()}, full again in {self.reset()} s"
            raise Refused(
                Reason.QUOTA_EXHAUSTED,
                quota=(self.name, state),
                retry_seconds=(1 - self._tokens) / self.quota.rate,
            )
        self._tokens -= 1

    def charge_refusal(self) -> None:
        """Take a token, if there is one, for a request that was not valid."""
        self._refill()
        self._tokens = min(self._tokens, max(0.0, self._tokens - 1))

    def charge_no(self) -> None:
        """Take the extra cost of a NO; the bucket may become negative."""
        self._tokens -= self.quota.miss_cost - 1

    def remaining(self) -> int:
        """Return the number of whole tokens."""
        return max(0, math.floor(self._tokens))

    def reset(self) -> int:
        """Return the seconds until the bucket is full."""
        return math.ceil((self.quota.burst - self._tokens) / self.quota.rate)

    def trailers(self) -> list[tuple[str, str]]:
        """Return the rate limit trailers, in fields of constant width."""
        self._refill()
        window = max(1, round(self.quota.burst / self.quota.rate))
        return [
            ("ratelimit-policy", f'"{self.name}";q={self.quota.burst};w={window}'),
            ("ratelimit", f'"{self.name}";r={self.remaining():09d};t={self.reset():09d}'),
        ]

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(float(self.quota.burst), self._tokens + (now - self._refilled_at) * self.quota.rate)
        self._refilled_at = now


class RateLimiter:
    """All buckets of a service."""

    def __init__(self) -> None:
        self._limiter: dict[tuple[str, str], TokenBucket] = {}

    def of(self, organization: str, method: str, quota: Quota) -> TokenBucket:
        """Return the bucket of *organization* for *method*."""
        key = (organization, method)
        if key not in self._limiter:
            self._limiter[key] = TokenBucket(method.rpartition("/")[2], quota)
        return self._limiter[key]
