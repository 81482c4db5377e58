"""Latencies as a histogram that can be added to another: counts by a bucket that is never wider than a sixteenth.

So the percentiles of a month follow from its minutes, in memory that does not grow with its inquiries.
"""

from collections import Counter
from collections.abc import Mapping
from struct import Struct, iter_unpack

_STEPS = 16
_PAIR = Struct("<HI")


def bucket(micros: int) -> int:
    """The bucket of a latency of *micros*."""
    shift = max(micros.bit_length() - 5, 0)
    return shift * _STEPS + (micros >> shift)


def upper_edge(number: int) -> int:
    """The longest latency, in microseconds, that falls into bucket *number*."""
    if number < 2 * _STEPS:
        return number
    shift = number // _STEPS - 1
    return ((number % _STEPS + _STEPS + 1) << shift) - 1


def pack(counts: Mapping[int, int]) -> bytes:
    """The bytes that a store keeps of *counts* by bucket."""
    return b"".join(_PAIR.pack(number, count) for number, count in sorted(counts.items()))


def unpack(kept: bytes) -> Counter[int]:
    """The counts by bucket that *kept* holds."""
    return Counter(dict(iter_unpack(_PAIR.format, kept)))


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """The latency in microseconds that *share* of all did not exceed, rounded up to its bucket; None where none was."""
    wanted = share * sum(counts.values())
    seen = 0
    for number in sorted(counts):
        seen += counts[number]
        if seen >= wanted:
            return upper_edge(number)
    return None
