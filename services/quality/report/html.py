"""The report as one page of HTML that needs nothing else: on a screen, in the dark and on paper."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quality.evaluation.report_model import DayFigures, Figures, MethodFigures, Minutes, Named, Outage
from quality.periods import Month, jalali
from quality.report import charts
from quality.report.i18n import WEEK, Wording

LANGUAGES = ("fa", "en")


@dataclass(frozen=True, slots=True)
class Seal:
    """What the page says of its figures' signature."""

    key_id: str
    digest: str
    signature: str


def page(figures: Figures, language: str, seal: Seal) -> bytes:
    """The page in one *language*."""
    say = Wording(language)
    style = files("quality.report").joinpath("templates/report.css").read_text("utf-8")
    return (
        _environment()
        .get_template("report.html")
        .render(
            f=figures,
            say=say,
            seal=seal,
            style=Markup(style),  # noqa: S704 - our own
            month=Month.parse(figures.month),
            weekdays=WEEK[language],
            weeks=_weeks,
            grade=_grade,
            whole=_whole(figures),
            charts=charts,
            causes=charts.CAUSES,
            kinds=[(cause, say(f"fault_{cause}")) for cause in charts.CAUSES],
            days=_month_days(figures),
            names=lambda methods: _names(figures, methods, say),
            callers=lambda method: _callers(figures, method, say),
            met=[v.met for judged in figures.judged for v in judged.verdicts if v.met is not None],
            unplanned=[one for one in figures.outages if one.fault in {"provider", "exchange"}],
            by_service=_by_service(figures),
            other="en" if say.persian else "fa",
        )
        .encode()
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("quality.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _weeks(method: MethodFigures) -> Iterator[Sequence[DayFigures | None]]:
    """The month's days by weeks, which begin on Saturday; None where a week reaches out of the month."""
    days: list[DayFigures | None] = [None] * jalali(method.days[0].day).weekday()
    days += method.days
    days += [None] * (-len(days) % 7)
    for first in range(0, len(days), 7):
        yield days[first : first + 7]


def _grade(minutes: Minutes) -> str:
    """The class of a day's cell."""
    available = minutes.availability
    if available is None:
        return "is-planned" if minutes.planned else "is-unmeasured" if minutes.unmeasured else "is-absent"
    grades = ((99.9, "is-full"), (99.5, "is-good"), (99.0, "is-fair"), (95.0, "is-poor"))
    return next((name for least, name in grades if available >= least), "is-bad")


def _whole(figures: Figures) -> list[DayFigures]:
    """The days of all methods together; of their latencies nothing can be said."""
    together = zip(*(method.days for method in figures.methods), strict=True)
    return [_sum(days) for days in together]


def _sum(days: Sequence[DayFigures]) -> DayFigures:
    names = ("inquiries", "answered", *charts.CAUSES)
    counted: Mapping[str, Any] = {name: sum(getattr(day.counts, name) for day in days) for name in names}
    counts = type(days[0].counts)(**counted, p50=None, p95=None, p99=None)
    return DayFigures(days[0].day, days[0].jalali, days[0].minutes, counts)


def _by_service(figures: Figures) -> dict[Named, list[Outage]]:
    found: dict[Named, list[Outage]] = {}
    for one in figures.outages:
        found.setdefault(one.service, []).append(one)
    return found


def _month_days(figures: Figures) -> list[date]:
    return Month.parse(figures.month).days()


def _names(figures: Figures, methods: Iterable[str], say: Wording) -> str:
    """Methods by their names in the reader's language, or as they travel where the report has no such method."""
    known = {method.method: method.fa if say.persian else method.en for method in figures.methods}
    return (" \u00b7 ").join(known.get(method, method) for method in methods)


def _callers(figures: Figures, method: MethodFigures, say: Wording) -> str:
    """Who still calls *method*, how often, and when last."""
    comma, semicolon = ("، ", "؛ ") if say.persian else (", ", "; ")
    return semicolon.join(
        comma.join(
            (
                say.name(still.consumer),
                f"{say.count(still.inquiries)} {say('times')}",
                f"{say('last_on')} {say.day(still.last_day)}",
            )
        )
        for still in figures.still_calling
        if still.method == method.method
    )
