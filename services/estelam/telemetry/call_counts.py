"""Counts every call where its reply is sent: by minute, method, caller, reason, and bucket of its latency.

The ledger can't show what callers experienced: a refusal that can't be recorded, because the store is down or the queue
is full, is in no ledger, and an answer that came too late is there as an answer. So the service counts what it sends.
"""

import threading
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple

from estelam.core.clock import Clock
from estelam.core.errors import Reason
from estelam.telemetry import histogram

MINUTE_MICROS: Final = 60_000_000
LEGAL_ID_DIGITS: Final = 11
PROBE_KEY: Final = "x-probe"
"""The metadata key of a monitor's probe: such a call is counted apart, as it is no consumer's traffic."""

ANSWERED: Final = ""
"""The reason of an answered call."""
CALLER_LEFT: Final = "CALLER_LEFT"
"""The reason of a call whose caller ended it, or let its deadline pass, within PATIENCE_SECONDS and without a reply."""
PATIENCE_SECONDS: Final = 1.0
"""A caller who has waited less than that does not show that the service is late (docs/quality-rules.md)."""


class CallKey(NamedTuple):
    """What is counted together."""

    minute: int
    """Minutes since 1970 in UTC, by the service's clock, in which the reply was sent."""
    method: str
    """package.Service/Method; empty if the service has no such method."""
    caller: str
    """The legal id of the calling organisation; empty if it was not authenticated."""
    reason: str
    """The reason of the refusal, of the error catalogue; or ANSWERED or CALLER_LEFT."""
    is_probe: bool
    bucket: int
    """The bucket of the latency, from the arrival of the request to its reply (`histogram`)."""


class CallCounter:
    """Counts calls, in any thread, without a lock: each thread has a dictionary of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._own = threading.local()
        self._all: list[dict[CallKey, int]] = []

    def count(self, method: str, caller: str, reason: str, seconds: float, *, is_probe: bool = False) -> None:
        """Count a call of *caller* that ended for *reason*, *seconds* after its arrival."""
        try:
            counts: dict[CallKey, int] = self._own.counts
        except AttributeError:
            counts = self._own.counts = {}
            self._all.append(counts)
        minute = self._clock.micros() // MINUTE_MICROS
        key = CallKey(minute, method, caller, reason, is_probe, histogram.bucket(max(0, int(seconds * 1e6))))
        counts[key] = counts.get(key, 0) + 1

    def totals(self) -> Counter[CallKey]:
        """Return the number of calls by key, since they were last forgotten."""
        total: Counter[CallKey] = Counter()
        for counts in tuple(self._all):
            total.update(counts.copy())
        return total

    def forget(self, end_minute: int) -> None:
        """Forget the calls of the minutes before *end_minute*, of which no more are counted."""
        for counts in tuple(self._all):
            for key in counts.copy():
                if key.minute < end_minute:
                    counts.pop(key, None)


def reason_without_reply(seconds: float) -> str:
    """Return the reason of a call that its caller waited for so many *seconds* without getting a reply."""
    return Reason.ANSWER_LATE if seconds >= PATIENCE_SECONDS else CALLER_LEFT


def organization(owner: Hashable) -> str:
    """Return *owner* (`Authenticator.owner`) if it is an organisation; nothing if it is the key of a stranger."""
    return owner if isinstance(owner, str) and len(owner) == LEGAL_ID_DIGITS else ""


def is_probe(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Return whether the call with this *metadata* is a monitor's probe."""
    return any(key == PROBE_KEY for key, _ in metadata)
