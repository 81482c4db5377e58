"""Synthetic rows for benchmarks."""
