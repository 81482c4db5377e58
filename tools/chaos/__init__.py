"""The product tortured: one module for each trial, each seeded, each told in one line of one table."""
