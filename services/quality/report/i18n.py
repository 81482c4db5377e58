"""Texts of the report and formats of numbers, durations, dates and times, in Persian and English."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal

from estelam.core.clock import TEHRAN
from estelam.web.rendering import messages_for
from quality.evaluation.report_model import Named
from quality.periods import NAMES_EN, NAMES_FA, Month, jalali

_DIGITS = str.maketrans("0123456789.,", "۰۱۲۳۴۵۶۷۸۹٫٬")
NONE = "–"
# Isolates that keep a value left to right within a line of either direction.
_LTR, _END = "\u2066", "\u2069"

_UNITS = {
    "p50": "ms",
    "p95": "ms",
    "p99": "ms",
    "freshness": "hours",
    "outage_notice": "hours",
    "change_notice": "days",
}
WEEK = {"fa": ("ش", "ی", "د", "س", "چ", "پ", "ج"), "en": ("Sa", "Su", "Mo", "Tu", "We", "Th", "Fr")}


@dataclass(frozen=True, slots=True)
class Localizer:
    """Texts and formats of one language."""

    language: str

    @property
    def persian(self) -> bool:
        """Whether the language is Persian, written from right to left."""
        return self.language == "fa"

    @property
    def comma(self) -> str:
        """The comma between items of a list."""
        return "،" if self.persian else ","

    def __call__(self, key: str) -> str:
        """The text of the report under *key*."""
        return messages_for(__package__, self.language)[key]

    def name(self, thing: Named) -> str:
        """The name of *thing*."""
        return thing.fa if self.persian else thing.en

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
        return NONE if value is None else f"{_LTR}{self.number(value, places)}{'٪' if self.persian else '%'}{_END}"

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

    def month(self, month: Month) -> str:
        """A month with its name."""
        names = NAMES_FA if self.persian else NAMES_EN
        return f"{names[month.number - 1]} {self.digits(str(month.year))}"

    def day(self, day: date | None) -> str:
        """A day: Jalali in Persian, in both calendars in English."""
        if day is None:
            return NONE
        if day == date.min:  # the coverage of a register that is complete from its beginning
            return "از آغاز" if self.persian else "from the beginning"
        found = jalali(day)
        text = f"{found.year}/{found.month:02}/{found.day:02}"
        return _LTR + (self.digits(text) if self.persian else f"{text} ({day:%Y-%m-%d})") + _END

    def instant(self, instant: datetime) -> str:
        """An instant to the minute, in the time zone of Iran."""
        local = instant.astimezone(TEHRAN)
        found = jalali(local.date())
        return _LTR + self.digits(f"{found.year}/{found.month:02}/{found.day:02} {local:%H:%M}") + _END

    def time(self, instant: datetime) -> str:
        """The time of day of *instant* in Iran, to the minute."""
        return _LTR + self.digits(f"{instant.astimezone(TEHRAN):%H:%M}") + _END

    def value(self, metric: str, value: float | date | None) -> str:
        """A measured value or a bound, with its unit."""
        if value is None:
            return NONE
        if isinstance(value, date):
            return self.day(value)
        if metric in _UNITS:
            return f"{self.number(value, 1)} {self(_UNITS[metric])}"
        return self.share(value, 3)

    def margin(self, metric: str, value: float | None) -> str:
        """The distance to a bound, with its sign and unit."""
        if value is None:
            return NONE
        unit = "days" if metric == "coverage" else _UNITS.get(metric, "points")
        sign = "+" if value >= 0 else "\u2212"
        return f"{_LTR}{sign}{self.number(abs(value), 1 if unit in {'ms', 'hours'} else 3)}{_END} {self(unit)}"
