"""What each minute of a month was, one byte for each: whether a method could be had, and if not, through whom."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quality.attribution import Attribution
from quality.records import Tally

UNMEASURED, UP, PROVIDER, EXCHANGE, CONSUMER, PLANNED, ABSENT = range(7)
"""Absent: the method was not yet or no longer in service, or the minute is still to come."""

NAMES = ("unmeasured", "up", "provider", "exchange", "consumer", "planned", "absent")
"""What each is called where it is shown."""

# Probes that are missing in the midst of an outage don't make two of it.
_BRIDGED_MINUTES = 5
_DOWN = {
    PROVIDER: Attribution.PROVIDER,
    EXCHANGE: Attribution.EXCHANGE,
    CONSUMER: Attribution.CONSUMER,
    PLANNED: Attribution.PLANNED,
}
_RUNS = {state: re.compile(rb"%c(?:\x00{0,%d}%c)*" % (state, _BRIDGED_MINUTES, state), re.DOTALL) for state in _DOWN}


@dataclass(frozen=True, slots=True)
class Incident:
    """Minutes on end, from *first* to before *end*, in which *fault* kept a method from answering; *down* of them."""

    fault: Attribution
    first: int
    end: int
    down: int


def state_from_probes(faults: Iterable[Attribution | None]) -> int:
    """What a method was in a minute in which probes met *faults*: one answer shows that it was there."""
    met = set(faults)
    if None in met:
        return UP
    if Attribution.PROVIDER in met:
        return PROVIDER
    # Whoever was refused as a consumer had an answer from the service: it was there.
    return EXCHANGE if met == {Attribution.EXCHANGE} else UP


def state_from_traffic(tally: Tally) -> int:
    """What a method was in a minute that no probe saw, as far as its inquiries tell."""
    counts = tally.counts
    if counts[None]:
        return UP
    if counts[Attribution.PROVIDER]:
        return PROVIDER
    if counts[Attribution.EXCHANGE]:
        return EXCHANGE
    return UP if tally.total else UNMEASURED


def consumer_state(fault: Attribution | None, method: int) -> int:
    """What one consumer's minute was, whose probe met *fault* while *method* was as it was for all."""
    return CONSUMER if fault is not None and method == UP else method


def find_incidents(minutes: bytes | bytearray, first_minute: int, shortest: int) -> Iterator[Incident]:
    """The outages in *minutes*, of which the first is *first_minute*; those of fewer than *shortest* are left out."""
    for state, pattern in _RUNS.items():
        for found in pattern.finditer(minutes):
            if found.end() - found.start() >= shortest:
                down = found.group().count(state)
                yield Incident(_DOWN[state], first_minute + found.start(), first_minute + found.end(), down)


@dataclass(frozen=True, slots=True)
class StateMinutes:
    """How many minutes a method was what."""

    up: int = 0
    provider: int = 0
    exchange: int = 0
    planned: int = 0
    unmeasured: int = 0

    @classmethod
    def of(cls, minutes: bytes | bytearray) -> "StateMinutes":
        """The time in *minutes*."""
        counted = map(minutes.count, (UP, PROVIDER, EXCHANGE, PLANNED, UNMEASURED))
        return cls(*counted)

    @property
    def measured(self) -> int:
        """The minutes that count."""
        return self.up + self.provider + self.exchange

    @property
    def availability(self) -> float | None:
        """The share of them, in per cent, in which the method could be had; None where nothing was measured."""
        return 100 * self.up / self.measured if self.measured else None


def fill_spans(minutes: bytearray, spans: Iterable[tuple[int, int]], state: int) -> None:
    """Make each span (first, end), within *minutes* or beyond, *state*."""
    for first, end in spans:
        low, high = max(first, 0), min(end, len(minutes))
        if low < high:
            minutes[low:high] = bytes([state]) * (high - low)
