"""The month in three sentences, made from its figures and, where there is one, from the report of the month before."""

from collections.abc import Callable

from quality.evaluation.report_model import Counts, EarlierMonth, Report
from quality.periods import Month
from quality.report.charts import CAUSES
from quality.report.i18n import Localizer


def summarize_month(report: Report, l10n: Localizer) -> list[str]:
    """Return the three sentences: availability, inquiries, objectives."""
    return [_availability(report, l10n), _inquiries(report, l10n), _objectives(report, l10n)]


def _availability(report: Report, l10n: Localizer) -> str:
    minutes = report.minutes
    if minutes.availability is None:
        return l10n("summary_not_measured")
    earlier = report.before.availability if report.before else None
    than = _than(report.before, l10n, minutes.availability, earlier, lambda gap: f"{l10n.number(gap)} {l10n('points')}")
    share, measured = l10n.share(minutes.availability), l10n.share(minutes.measured_share)
    return l10n("summary_availability").format(share=share, measured=measured, than=than)


def _inquiries(report: Report, l10n: Localizer) -> str:
    counts = report.counts
    if counts is None:
        return l10n("summary_not_counted")
    earlier = report.before.inquiries if report.before else None
    than = _than(report.before, l10n, counts.inquiries, earlier, lambda gap: l10n.count(round(gap)))
    if not counts.inquiries:
        return l10n("summary_no_inquiry").format(than=than)
    answered = l10n.share(100 * counts.answered / counts.inquiries)
    sentence = l10n("summary_inquiries").format(count=l10n.count(counts.inquiries), than=than, answered=answered)
    return f"{sentence}{_main_cause(counts, l10n)}{l10n('full_stop')}"


def _main_cause(counts: Counts, l10n: Localizer) -> str:
    cause = max(CAUSES, key=lambda name: int(getattr(counts, name)))
    number = int(getattr(counts, cause))
    return l10n("summary_cause").format(count=l10n.count(number), cause=l10n(f"fault_{cause}")) if number else ""


def _objectives(report: Report, l10n: Localizer) -> str:
    met = report.verdicts_met
    if not met:
        return l10n("summary_no_objective")
    broken = met.count(False)
    key = "summary_objectives" if broken else "summary_all_met"
    return l10n(key).format(total=l10n.count(len(met)), broken=l10n.count(broken))


def _than(
    before: EarlierMonth | None,
    l10n: Localizer,
    now: float,
    earlier: float | None,
    text: Callable[[float], str],
) -> str:
    """How *now* compares with the *earlier* value of the month before; empty if that is not known."""
    if before is None or earlier is None:
        return ""
    month = l10n.month(Month.parse(before.month))
    key = "than_same" if now == earlier else "than_more" if now > earlier else "than_less"
    return l10n(key).format(gap=text(abs(now - earlier)), month=month)
