"""What a spreadsheet makes of identifiers: it rounds those of more than 15 digits, or writes something else there."""

from dataclasses import dataclass
from math import sqrt

SPREADSHEET_DIGITS = 15
"""The digits of a number that spreadsheets keep."""
_NUMBER = "[0-9]+([.,\u066b][0-9]*E[+-]?[0-9]{1,3}|E\\+[0-9]{2,3}|[.\u066b]0{1,2})|[0-9]/[0-9]+E[+-][0-9]{2,3}"
SPREADSHEET_FORM = f"(?i)^(=.*|#+|#[A-Z0-9/]+[!?]|#N/A|[+-]?({_NUMBER}))$"
"""A regular expression of what a spreadsheet makes of an identifier: a formula as `="0012"`, an error as `#REF!`, the
signs `####` of a narrow column, a number as `1.4E+15` or `12.0`.

An agency's id may be `12E-34` or `12E34`: without a decimal point a spreadsheet writes a long number with a plus sign,
which no contract allows. A slash, the decimal sign of Persian spreadsheets, follows one digit, and else is a case's.
"""
SPREADSHEET_VALUE = "SPREADSHEET_VALUE"
"""The reason to reject such a value."""


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
