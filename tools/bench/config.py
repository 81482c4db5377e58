"""Sizes and durations of the benchmarks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Sizes and durations of one benchmark run."""

    seconds: float
    """Measured seconds of each run."""
    rounds: int
    """Pairs of runs; the median is reported."""
    notes: int
    """Notes in the store."""
    few_rows: int
    """Cases in the small store."""
    rows: int
    """Cases in the large store, and in the file that is loaded."""
    calls: int
    """Calls over which memory growth is measured."""
    entries: int
    """Number of entries of the verified ledger."""
    receipts: int
    """Receipts that are verified."""
    short_ledger: int
    """Entries of the short ledger with which the long one is compared."""
    ledger: int
    """Entries of the long ledger."""
    ids: int
    """Tracking ids in the bulk check."""
    few_inquiries: int
    """Inquiries of the reported quiet month."""
    inquiries: int
    """Inquiries of the reported busy month."""


FULL = BenchConfig(
    seconds=5,
    rounds=5,
    notes=10_000,
    few_rows=10_000,
    rows=10_000_000,
    calls=1_000_000,
    entries=1_000_000,
    receipts=50_000,
    short_ledger=10_000,
    ledger=10_000_000,
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
    receipts=5_000,
    short_ledger=10_000,
    ledger=100_000,
    ids=10_000,
    few_inquiries=100_000,
    inquiries=1_000_000,
)
