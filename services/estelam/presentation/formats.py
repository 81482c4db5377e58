"""Formats of numbers, percentages, durations, dates and times on pages and papers, in Persian and English.

A date is Jalali in Persian, and Jalali with the ISO date beside it in English; a time is that of Tehran.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from typing import Final

from estelam.core import dates

NONE: Final = "–"
"""What stands for a value that is not known."""
_DIGITS = str.maketrans("0123456789.,", "۰۱۲۳۴۵۶۷۸۹٫٬")
# Isolates that keep a value left to right within a line of either direction.
_LTR, _END = "\u2066", "\u2069"


@dataclass(frozen=True, slots=True)
class Formats:
    """Formats of one language, fa or en."""

    language: str

    @property
    def persian(self) -> bool:
        """Whether the language is Persian, written from right to left."""
        return self.language == "fa"

    @property
    def direction(self) -> str:
        """The direction of the language's script, as HTML names it."""
        return "rtl" if self.persian else "ltr"

    @property
    def comma(self) -> str:
        """The comma between items of a list."""
        return "،" if self.persian else ","

    def digits(self, text: str) -> str:
        """*text* with this language's digits."""
        return text.translate(_DIGITS) if self.persian else text

    def count(self, number: int) -> str:
        """A whole number."""
        return self.digits(f"{number:,}")

    def number(self, value: float | None, places: int = 2) -> str:
        """A number truncated, not rounded, so that 99.999 never reads as 100; without trailing zeros."""
        if value is None:
            return NONE
        cut = Decimal(str(round(value, 9))).quantize(Decimal(1).scaleb(-places), ROUND_DOWN)
        text = f"{cut:,f}"
        return self.digits(text.rstrip("0").rstrip(".") if "." in text else text)

    def share(self, value: float | None, places: int = 2) -> str:
        """A percentage, isolated so that its sign stays on the same side in every line."""
        return NONE if value is None else self.isolated(f"{self.number(value, places)}{'٪' if self.persian else '%'}")

    def milliseconds(self, value: float | None) -> str:
        """A latency in milliseconds, with one decimal below 100."""
        return NONE if value is None else self.number(value, 0 if value >= 100 else 1)

    def length(self, minutes: int) -> str:
        """A duration in hours and minutes."""
        hours, rest = divmod(minutes, 60)
        if not hours:
            return self.digits(f"{rest} دقیقه" if self.persian else f"{rest} min")
        if not rest:
            return self.digits(f"{hours} ساعت" if self.persian else f"{hours} h")
        return self.digits(f"{hours} ساعت و {rest} دقیقه" if self.persian else f"{hours} h {rest} min")

    def day(self, day: date | None) -> str:
        """A day: ۱۴۰۵/۰۹/۰۹, and 1405-09-09 (2026-11-30) in English."""
        if day is None:
            return NONE
        if day == date.min:  # the coverage of a register that is complete from its beginning
            return "از آغاز" if self.persian else "from the beginning"
        return self.digits(dates.format_jalali(day).replace("-", "/")) if self.persian else dates.format_both(day)

    def instant(self, instant: datetime) -> str:
        """An instant to the minute: ۱۴۰۵/۰۹/۰۹ ساعت ۲۲:۰۰, and 1405-09-09 22:00 (2026-11-30) in English."""
        return self._instant(instant, "%H:%M") if self.persian else dates.format_minute(instant)

    def second(self, instant: datetime) -> str:
        """An instant as `instant` formats it, with its second."""
        return self._instant(instant, "%H:%M:%S") if self.persian else dates.format_second(instant)

    def time(self, instant: datetime) -> str:
        """The time of day of *instant*, to the minute."""
        local = dates.to_tehran(instant)
        return NONE if local is None else self.digits(f"{local:%H:%M}")

    def isolated(self, text: str) -> str:
        """*text*, left to right within a line of either direction."""
        return f"{_LTR}{text}{_END}"

    def _instant(self, instant: datetime, clock: str) -> str:
        local = dates.to_tehran(instant)
        if local is None or dates.format_jalali(local.date()) == local.date().isoformat():
            return instant.isoformat(timespec="seconds")
        return self.digits(f"{self.day(local.date())} ساعت {local:{clock}}")
