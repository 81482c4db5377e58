"""What a spreadsheet makes of identifiers: it rounds those of more than 15 digits, or writes a number or a formula."""

from dataclasses import dataclass
from math import sqrt

SPREADSHEET_DIGITS = 15
"""The digits of a number that spreadsheets keep."""
SPREADSHEET_FORM = "^(=.*|[+-]?[0-9]+([.,/\u066b][0-9]+)?[Ee][+-][0-9]{2,3})$"
"""A regular expression of what a spreadsheet makes of an identifier: a formula as `="0012"`, a number as `1.4E+15`."""


def may_be_rounded(identifier: str) -> bool:
    """Whether *identifier* has more digits than a spreadsheet keeps, and zeros alone after them."""
    return len(identifier) > SPREADSHEET_DIGITS and not identifier[SPREADSHEET_DIGITS:].strip("0")


def chance(length: int) -> float:
    """Return the chance that a genuine identifier of *length* digits may be taken for a rounded one."""
    return 10.0 ** (SPREADSHEET_DIGITS - length) if length > SPREADSHEET_DIGITS else 0.0


@dataclass(slots=True)
class RoundingCount:
    """How many identifiers may be rounded, and how many chance explains."""

    count: int = 0
    expected: float = 0.0

    @property
    def is_likely(self) -> bool:
        """Whether more identifiers may be rounded than chance explains, by three standard deviations."""
        return self.count > self.expected + 3 * sqrt(self.expected)
