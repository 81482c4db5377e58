"""Chaos tests: one module per scenario, each with a seed, each reported on one line of a table."""
