"""What a spreadsheet makes of identifiers: it rounds those of more than 15 digits, or writes something else there."""

from dataclasses import dataclass
from math import log10

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
