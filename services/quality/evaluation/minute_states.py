"""State of a method in each minute, one byte a minute: available, or not, by attribution."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from quality.attribution import Attribution
from quality.records import Tally

UNMEASURED, UP, PROVIDER, EXCHANGE, CONSUMER, PLANNED, ABSENT, UNKNOWN = range(8)
"""ABSENT: the method was not in service, or the minute is in the future. UNKNOWN: not available, and it is not known
because of whom."""

NAMES = ("unmeasured", "up", "provider", "exchange", "consumer", "planned", "absent", "unknown")
"""Names of the states, by number."""

# Missing probes within an outage don't split it.
_MAX_GAP_MINUTES = 5
_DOWN: dict[int, Attribution] = {
    PROVIDER: Attribution.PROVIDER,
    EXCHANGE: Attribution.EXCHANGE,
    CONSUMER: Attribution.CONSUMER,
    PLANNED: Attribution.PLANNED,
    UNKNOWN: Attribution.UNKNOWN,
}
_FAULTS = {fault: state for state, fault in _DOWN.items()}
_SIDES = (Attribution.PROVIDER, Attribution.EXCHANGE, Attribution.UNKNOWN)
"""The attributions of failures that lower the availability."""
_SHOWN_BY_CALLS = (Attribution.PROVIDER, Attribution.EXCHANGE)
"""Those that a call of a consumer can show."""
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


def method_state(tally: Tally | None, faults: Sequence[Attribution | None], failing_share: float) -> int:
    """State of a method in one minute, from its inquiries and from the results of its probes.

    The probes of a minute weigh as much as one inquiry: good, if one was answered or refused for a fault of the
    consumer. The method is not available if more than *failing_share* (per cent) of all failed.
    """
    counts: Mapping[Attribution | None, int] = tally.counts if tally else {}
    answered = counts.get(None, 0)
    # A failure of which nothing is known may be none: only probes show that the method was not available.
    failed = {Attribution.UNKNOWN: 0} | {side: counts.get(side, 0) for side in _SHOWN_BY_CALLS}
    by_probes = probes_state(faults)
    if by_probes == UP:
        answered += 1
    elif by_probes != UNMEASURED:
        failed[_DOWN[by_probes]] += 1
    failures = sum(failed.values())
    if not answered + failures:
        # A refusal for a fault of the consumer is an answer: the service was available.
        return UP if tally and tally.total > tally.counts[Attribution.UNKNOWN] else UNMEASURED
    if 100 * failures <= failing_share * (answered + failures):
        return UP
    return _FAULTS[max(_SIDES, key=failed.__getitem__)]


def probes_state(faults: Sequence[Attribution | None]) -> int:
    """State of a method from the results of its probes in one minute alone: one answer makes it available."""
    found = set(faults)
    if not found:
        return UNMEASURED
    if Attribution.PROVIDER in found and None not in found:
        return PROVIDER
    if not found <= set(_SIDES):
        return UP
    return EXCHANGE if found == {Attribution.EXCHANGE} else UNKNOWN


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
    unknown: int = 0

    @classmethod
    def of(cls, minutes: bytes | bytearray) -> "StateMinutes":
        """Count the states in *minutes*."""
        counted = map(minutes.count, (UP, PROVIDER, EXCHANGE, PLANNED, UNMEASURED, UNKNOWN))
        return cls(*counted)

    @property
    def measured(self) -> int:
        """Minutes that count in the availability."""
        return self.up + self.provider + self.exchange + self.unknown

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
