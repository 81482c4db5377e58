"""The month in three sentences: what its figures say, compared with the month before where that is published."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from quality.evaluation.report_model import Counts, Coverage, EarlierMonth, Minutes, Named, Report, SloResult
from quality.evaluation.sli import Verdict
from quality.report.i18n import Localizer
from quality.report.summary import summarize_month
from quality.slo import Sli

THEN = datetime(2026, 11, 21, tzinfo=UTC)
COUNTS = Counts(1000, 950, 30, 0, 0, 20, 0, 0, 0, 0, 20.0, 80.0, 160.0)
MINUTES = Minutes(990, 10, 0, 0, 0, 0, 99.0)
BROKEN = Verdict(
    Sli.AVAILABILITY, at_least=99.5, at_most=None, measured=99.0, met=False, state="broken", margin=-0.5, budget=None
)
BEFORE = EarlierMonth("1405-07", 99.5, 900, 80.0, 9, 0, 0)
WHO = Named("working-group", "کارگروه", "Working group")


def report(**changes: Any) -> Report:
    return replace(
        Report(
            *(2, "1405-08", THEN, THEN, THEN, False, True, Coverage.MEASURED, THEN, "working-group", WHO, ()),
            *(COUNTS, MINUTES, (), (), (), (), (), (), (), ()),
        ),
        **changes,
    )


def test_sentences() -> None:
    """Each sentence has the month's figures; the one on inquiries names the main cause of those without an answer."""
    result = SloResult("entering", "", WHO, WHO, None, None, None, (BROKEN,))
    found = summarize_month(report(slo_results=(result,), before=BEFORE), Localizer("en"))
    availability, inquiries, objectives = (text.replace("\u2066", "").replace("\u2069", "") for text in found)

    assert availability == (
        "The services were available in 99% of the measured time, 0.5 points less than in Mehr 1405; 100% of the time "
        "was measured."
    )
    assert inquiries == (
        "There were 1,000 inquiries, 100 more than in Mehr 1405, of which 95% were answered; most of the others, 30, "
        "are attributed to: Provider."
    )
    assert objectives == "Of 1 measured objectives 1 were not met."


@pytest.mark.parametrize("language", ["fa", "en"])
def test_nothing_measured(language: str) -> None:
    """What was not measured has no figure, and is compared with nothing."""
    gap = Minutes(None, None, None, None, 0, 1000, None)
    found = summarize_month(report(minutes=gap, counts=None, before=BEFORE), Localizer(language))

    assert 3 == len(found)
    assert not any(character.isdigit() for text in found for character in text)


@pytest.mark.parametrize("language", ["fa", "en"])
def test_no_earlier_report(language: str) -> None:
    """Without a published report of the month before nothing is compared."""
    assert not any("1405" in text or "۱۴۰۵" in text for text in summarize_month(report(), Localizer(language)))
