"""The last days of each method, taken from the reports of the months that these days are in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from quality.evaluation.build import sum_minutes
from quality.evaluation.report_model import Coverage, DayReport, Minutes, Report
from quality.periods import Month, jalali

PERIODS = (1, 7, 30, 90)
"""The periods that a page can show, in days; the first is that of the status, the last 24 hours."""
PAST_MONTHS = 3
"""So many months before the current one cover the longest period."""
_NOTHING = Minutes(None, None, None, None, 0, 0, None)


def months_shown(current: Month) -> list[Month]:
    """Return *current* and the PAST_MONTHS months before it, newest first."""
    months = [current]
    for _ in range(PAST_MONTHS):
        months.append(months[-1].before())
    return months


@dataclass(frozen=True, slots=True)
class MethodHistory:
    """The last days of one method, oldest first."""

    days: tuple[DayReport, ...]
    minutes: Minutes
    inquiries: int | None
    """None if the inquiries of no day are known."""


def method_history(reports: Sequence[Report], method: str, *, today: date, count: int) -> MethodHistory:
    """Return the *count* days up to *today* of *method*; one that none of *reports* has is a day without service."""
    found = {day.day: day for report in reports for one in report.methods if one.method == method for day in one.days}
    wanted = (today - timedelta(days=back) for back in range(count - 1, -1, -1))
    days = tuple(found.get(day) or _absent(day) for day in wanted)
    known = [day.counts.inquiries for day in days if day.counts]
    return MethodHistory(days, sum_minutes(day.minutes for day in days), sum(known) if known else None)


def _absent(day: date) -> DayReport:
    return DayReport(day, jalali(day).isoformat(), _NOTHING, Coverage.ABSENT, None)
