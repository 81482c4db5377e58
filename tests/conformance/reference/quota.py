"""How much may be asked: a bucket of tokens for each organisation and method, whose state is told to its owner."""

import math
import time
from dataclasses import dataclass

from estelam.core.errors import Reason

from .words import Declined


@dataclass(frozen=True)
class Allowance:
    """A bucket's size, what comes back each second, and what a no costs in all."""

    rate: float
    burst: int
    miss_cost: int


class Bucket:
    """Tokens of one organisation for one method."""

    def __init__(self, name: str, allowance: Allowance) -> None:
        self.name = name
        self.allowance = allowance
        self._tokens = float(allowance.burst)
        self._looked = time.monotonic()

    def take(self) -> None:
        """Take the token that any inquiry costs."""
        self._refill()
        if self._tokens < 1:
            state = f"limit {self.allowance.burst}, remaining {self.remaining()}, full again in {self.reset()} s"
            raise Declined(
                Reason.QUOTA_EXHAUSTED,
                quota=(self.name, state),
                retry_seconds=(1 - self._tokens) / self.allowance.rate,
            )
        self._tokens -= 1

    def miss(self) -> None:
        """Take what a no costs besides, even beyond nothing."""
        self._tokens -= self.allowance.miss_cost - 1

    def remaining(self) -> int:
        """Whole tokens that are left."""
        return max(0, math.floor(self._tokens))

    def reset(self) -> int:
        """Seconds until it is full."""
        return math.ceil((self.allowance.burst - self._tokens) / self.allowance.rate)

    def trailers(self) -> list[tuple[str, str]]:
        """What its owner is told with each reply, in fields of one width."""
        self._refill()
        window = max(1, round(self.allowance.burst / self.allowance.rate))
        return [
            ("ratelimit-policy", f'"{self.name}";q={self.allowance.burst};w={window}'),
            ("ratelimit", f'"{self.name}";r={self.remaining():09d};t={self.reset():09d}'),
        ]

    def _refill(self) -> None:
        now = time.monotonic()
        self._tokens = min(float(self.allowance.burst), self._tokens + (now - self._looked) * self.allowance.rate)
        self._looked = now


class Buckets:
    """All buckets of a service."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], Bucket] = {}

    def of(self, organization: str, method: str, allowance: Allowance) -> Bucket:
        """The bucket of *organization* for *method*."""
        key = (organization, method)
        if key not in self._buckets:
            self._buckets[key] = Bucket(method.rpartition("/")[2], allowance)
        return self._buckets[key]
