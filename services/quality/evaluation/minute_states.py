"""State of a method in each minute, one byte a minute: available, or not, by attribution."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quality.attribution import Attribution
from quality.records import Tally

UNMEASURED, UP, PROVIDER, EXCHANGE, CONSUMER, PLANNED, ABSENT = range(7)
"""ABSENT: the method was not in service, or the minute is in the future."""

NAMES = ("unmeasured", "up", "provider", "exchange", "consumer", "planned", "absent")
"""Names of the states, by number."""

# Missing probes within an outage don't split it.
_MAX_GAP_MINUTES = 5
_DOWN = {
    PROVIDER: Attribution.PROVIDER,
    EXCHANGE: Attribution.EXCHANGE,
    CONSUMER: Attribution.CONSUMER,
    PLANNED: Attribution.PLANNED,
}
_PATTERNS = {
    state: re.compile(rb"%c(?:\x00{0,%d}%c)*" % (state, _MAX_GAP_MINUTES, state), re.DOTALL) for state in _DOWN
}


@dataclass(frozen=True, slots=True)
class Incident:
    """Consecutive minutes, *first* to before *end*, in which a method was down for *fault* in *down* of them."""

    fault: Attribution
    first: int
    end: int
    down: int


def state_from_probes(faults: Iterable[Attribution | None]) -> int:
    """State of a method from the results of its probes in one minute: one answer makes it available."""
    found = set(faults)
    if None in found:
        return UP
    if Attribution.PROVIDER in found:
        return PROVIDER
    # A refusal for a fault of the consumer is an answer: the service was available.
    return EXCHANGE if found == {Attribution.EXCHANGE} else UP


def state_from_traffic(tally: Tally) -> int:
    """State of a method from its inquiries, in a minute without a probe."""
    counts = tally.counts
    if counts[None]:
        return UP
    if counts[Attribution.PROVIDER]:
        return PROVIDER
    if counts[Attribution.EXCHANGE]:
        return EXCHANGE
    return UP if tally.total else UNMEASURED


def consumer_state(fault: Attribution | None, method: int) -> int:
    """State for one consumer whose probe failed for *fault* (None: answered) while *method* was the method's state."""
    return CONSUMER if fault is not None and method == UP else method


def find_incidents(minutes: bytes | bytearray, first_minute: int, shortest: int) -> Iterator[Incident]:
    """Incidents of at least *shortest* minutes in *minutes*, which begin at *first_minute*."""
    for state, pattern in _PATTERNS.items():
        for found in pattern.finditer(minutes):
            if found.end() - found.start() >= shortest:
                down = found.group().count(state)
                yield Incident(_DOWN[state], first_minute + found.start(), first_minute + found.end(), down)


@dataclass(frozen=True, slots=True)
class StateMinutes:
    """Number of minutes in each state."""

    up: int = 0
    provider: int = 0
    exchange: int = 0
    planned: int = 0
    unmeasured: int = 0

    @classmethod
    def of(cls, minutes: bytes | bytearray) -> "StateMinutes":
        """Count the states in *minutes*."""
        counted = map(minutes.count, (UP, PROVIDER, EXCHANGE, PLANNED, UNMEASURED))
        return cls(*counted)

    @property
    def measured(self) -> int:
        """Minutes that count in the availability."""
        return self.up + self.provider + self.exchange

    @property
    def availability(self) -> float | None:
        """Per cent of the measured minutes in which the method was available; None if none was measured."""
        return 100 * self.up / self.measured if self.measured else None


def fill_spans(minutes: bytearray, spans: Iterable[tuple[int, int]], state: int) -> None:
    """Set each span (first, end) to *state*; parts outside *minutes* are ignored."""
    for first, end in spans:
        low, high = max(first, 0), min(end, len(minutes))
        if low < high:
            minutes[low:high] = bytes([state]) * (high - low)
