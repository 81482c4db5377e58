"""Latency histograms that can be added. A bucket is at most 1/16 wide, relative to its latencies.

Percentiles of a month are computed from the histograms of its minutes, in memory independent of the traffic.
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
    """Encode *counts* by bucket for the store."""
    return b"".join(_PAIR.pack(number, count) for number, count in sorted(counts.items()))


def unpack(content: bytes) -> Counter[int]:
    """Decode what `pack` encoded."""
    return Counter(dict(iter_unpack(_PAIR.format, content)))


def percentile(counts: Mapping[int, int], share: float) -> int | None:
    """The latency in microseconds that *share* of the counts does not exceed, rounded up to its bucket's edge.

    None if there are no counts.
    """
    wanted = share * sum(counts.values())
    total = 0
    for number in sorted(counts):
        total += counts[number]
        if total >= wanted:
            return upper_edge(number)
    return None
