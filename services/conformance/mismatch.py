"""What a check found: the expected and the actual, and the clause that demands it."""

from typing import NamedTuple

# The clauses of the checks that are made of every reply.
RECORDED = "P2"
PROVEN = "P3"
COVERED = "P6"
LENGTH = "P7"
UNDISCLOSED = "P8"
CONTRACT = "P10"
METADATA = "P11"
QUOTA = "P12"
CATALOGUE = "P15"


class Mismatch(NamedTuple):
    """A difference between what was expected and what was found."""

    expected: str
    actual: str
    clause: str = ""
    """The clause that demands it; empty: the case's own."""
