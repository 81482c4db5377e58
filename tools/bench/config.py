"""How large a measurement is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What every measurement is told of how large it is to be."""

    seconds: float
    """Measured seconds of each run."""
    rounds: int
    """Pairs of runs of which the median is taken."""
    notes: int
    """Notes on record."""
    few_rows: int
    """Cases on record in the small store."""
    rows: int
    """Cases on record in the large store, and in the file that is loaded."""
    calls: int
    """Calls over which the growth of memory is taken."""
    entries: int
    """Entries that the verified ledger holds at least."""
    ids: int
    """Tracking ids that are swept."""
    few_inquiries: int
    """Inquiries of the quiet month that is reported."""
    inquiries: int
    """Inquiries of the busy month that is reported."""


FULL = BenchConfig(
    seconds=5,
    rounds=5,
    notes=10_000,
    few_rows=10_000,
    rows=10_000_000,
    calls=1_000_000,
    entries=200_000,
    ids=200_000,
    few_inquiries=1_000_000,
    inquiries=10_000_000,
)
QUICK = BenchConfig(
    seconds=1,
    rounds=1,
    notes=2_000,
    few_rows=10_000,
    rows=200_000,
    calls=10_000,
    entries=20_000,
    ids=10_000,
    few_inquiries=100_000,
    inquiries=1_000_000,
)
