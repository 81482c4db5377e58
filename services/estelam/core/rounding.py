"""Identifiers of more than 15 digits, which a spreadsheet rounds."""

from dataclasses import dataclass
from math import log10

SPREADSHEET_DIGITS = 15
"""The digits of a number that spreadsheets keep."""


def may_be_rounded(identifier: str) -> bool:
    """Whether *identifier* has more digits than a spreadsheet keeps, and zeros alone after them."""
    return len(identifier) > SPREADSHEET_DIGITS and not identifier[SPREADSHEET_DIGITS:].strip("0")


@dataclass(slots=True)
class RoundingCount:
    """How many identifiers may be rounded, and how likely it is that genuine ones look so."""

    count: int = 0
    """Identifiers that may be rounded."""
    total: int = 0
    """Identifiers of more digits than a spreadsheet keeps."""
    expected: float = 0.0
    """Identifiers that look rounded by chance, on average."""

    def add_identifiers(self, length: int, number: int = 1) -> None:
        """Count *number* identifiers of *length* digits; those that may be rounded are counted by the caller."""
        if length > SPREADSHEET_DIGITS:
            self.total += number
            self.expected += number * 10.0 ** (SPREADSHEET_DIGITS - length)

    @property
    def log_chance(self) -> float:
        """The decimal logarithm of the greatest chance that as many genuine identifiers, or more, look rounded.

        It is the lower one of two bounds: Markov's, and that of Hoeffding (1963, theorem 1), exact where all look so.
        """
        count, total = self.count, self.total
        if count <= self.expected:
            return 0.0
        others = (total - count) * log10((total - count) / (total - self.expected)) if count < total else 0.0
        ratio = log10(count / self.expected)
        return round(-max(ratio, count * ratio + others), 9)
