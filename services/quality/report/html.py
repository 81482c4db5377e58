"""The report as one self-contained HTML page, for light and dark screens and for print."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from estelam.presentation.style import DOCUMENT_POLICY, inline_style, without_blanks
from quality.evaluation.build import sum_minutes
from quality.evaluation.report_model import Counts, Coverage, DayReport, MethodReport, Minutes, Named, Outage, Report
from quality.periods import Month, jalali
from quality.report import charts
from quality.report.charts import Timed
from quality.report.i18n import WEEK, Localizer
from quality.report.summary import summarize_month

LANGUAGES = ("fa", "en")


@dataclass(frozen=True, slots=True)
class ReportSignature:
    """Signature of `figures.json`, as the page prints it."""

    key_id: str
    digest: str
    signature: str


def render_page(report: Report, language: str, signature: ReportSignature) -> bytes:
    """Render the page in *language*."""
    l10n = Localizer(language)
    style = without_blanks(files("quality.report").joinpath("templates/report.css").read_text("utf-8"))
    return (
        _environment()
        .get_template("report.html")
        .render(
            f=report,
            l10n=l10n,
            signature=signature,
            style=Markup(inline_style() + style),  # noqa: S704 - our own files
            policy=DOCUMENT_POLICY,
            month=Month.parse(report.month),
            weekdays=WEEK[language],
            weeks=_weeks,
            day_classes=_day_classes,
            totals=charts.day_slots(_totals(report), l10n),
            charts=charts,
            bounds=lambda method: report.latency_bounds(method.service),
            causes=charts.CAUSES,
            kinds=[(cause, l10n(f"fault_{cause}")) for cause in charts.CAUSES],
            days=_month_days(report),
            names=lambda methods: _names(report, methods, l10n),
            callers=lambda method: _callers(report, method, l10n),
            met=report.verdicts_met,
            unplanned=report.unplanned,
            summary=summarize_month(report, l10n),
            by_service=_by_service(report),
            methods_of=lambda service, its: _methods_of(report, service, its),
            other="en" if l10n.persian else "fa",
        )
        .encode()
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("quality.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _weeks(method: MethodReport) -> Iterator[tuple[int, Sequence[DayReport]]]:
    """The days of the month in weeks that start on Saturday, each after the number of its days of the month before."""
    before = jalali(method.days[0].day).weekday()
    for first in range(-before, len(method.days), 7):
        yield max(-first, 0), method.days[max(first, 0) : first + 7]


def _day_classes(minutes: Minutes) -> Markup:
    """The class attribute of a day's cell in the calendar; none for a day of the best grade, as most are."""
    marks = ("has-planned", minutes.planned), ("has-gap", minutes.unmeasured and minutes.availability is not None)
    names = " ".join(filter(None, [_grade(minutes), *(name for name, is_set in marks if is_set)]))
    return Markup(' class="{}"').format(names) if names else Markup("")


def _grade(minutes: Minutes) -> str:
    available = minutes.availability
    if available is None:
        return "is-planned" if minutes.planned else "is-unmeasured" if minutes.unmeasured else "is-absent"
    grades = ((99.9, ""), (99.5, "is-good"), (99.0, "is-fair"), (95.0, "is-poor"))
    return next((name for least, name in grades if available >= least), "is-bad")


def _totals(report: Report) -> list[DayReport]:
    """Daily counts summed over all methods. Percentiles can't be summed and are None."""
    together = zip(*(method.days for method in report.methods), strict=True)
    return [_sum(days) for days in together]


def _sum(days: Sequence[DayReport]) -> DayReport:
    names = ("inquiries", "answered", *charts.CAUSES)
    measured = [day.counts for day in days if day.counts]
    counted: Mapping[str, Any] = {name: sum(getattr(counts, name) for counts in measured) for name in names}
    counts = Counts(**counted, p50=None, p95=None, p99=None)
    minutes = sum_minutes(day.minutes for day in days)
    coverage = Coverage.of(minutes, is_future=days[0].coverage is Coverage.FUTURE)
    return DayReport(days[0].day, days[0].jalali, minutes, coverage, counts if measured else None)


def _by_service(report: Report) -> dict[Named, list[Outage]]:
    found: dict[Named, list[Outage]] = {}
    for one in report.outages:
        found.setdefault(one.service, []).append(one)
    return found


def _methods_of(report: Report, service: Named, outages: Iterable[Outage]) -> list[Timed]:
    """What has the days of *service*: its methods, itself if it is only listed, or the methods that its *outages* met.

    Its own methods may not be in the reader's report.
    """
    met = {name for outage in outages for name in outage.methods}
    own: list[Timed] = [method for method in report.methods if method.service == service.slug]
    own += [one for one in report.listed if one.service == service]
    return own or [method for method in report.methods if method.method in met]


def _month_days(report: Report) -> list[date]:
    return Month.parse(report.month).days()


def _names(report: Report, methods: Iterable[str], l10n: Localizer) -> str:
    """Method names in the page's language; the full name for a method that is not in the report."""
    known = {method.method: method.fa if l10n.persian else method.en for method in report.methods}
    return (" \u00b7 ").join(known.get(method, method) for method in methods)


def _callers(report: Report, method: MethodReport, l10n: Localizer) -> str:
    """Consumers that still call *method*, with the number of inquiries and the last day."""
    comma, semicolon = ("، ", "؛ ") if l10n.persian else (", ", "; ")
    return semicolon.join(
        comma.join(
            (
                l10n.name(still.consumer),
                f"{l10n.count(still.inquiries)} {l10n('times')}",
                f"{l10n('last_on')} {l10n.day(still.last_day)}",
            )
        )
        for still in report.still_calling
        if still.method == method.method
    )
