"""Texts of the report, and formats of its metrics, in Persian and English."""

from dataclasses import dataclass
from datetime import date

from estelam.presentation.formats import NONE, Formats
from estelam.web.rendering import messages_for
from quality.evaluation.report_model import Named
from quality.periods import NAMES_EN, NAMES_FA, Month

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
class Localizer(Formats):
    """Texts and formats of one language."""

    def __call__(self, key: str) -> str:
        """The text of the report under *key*."""
        return messages_for(__package__, self.language)[key]

    def name(self, thing: Named) -> str:
        """The name of *thing*."""
        return thing.fa if self.persian else thing.en

    def month(self, month: Month) -> str:
        """A month with its name."""
        names = NAMES_FA if self.persian else NAMES_EN
        return f"{names[month.number - 1]} {self.digits(str(month.year))}"

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
        text = f"{sign}{self.number(abs(value), 1 if unit in {'ms', 'hours'} else 3)}"
        return f"{self.isolated(text)} {self(unit)}"
