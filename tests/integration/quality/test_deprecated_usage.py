"""Callers of deprecated methods in the report."""

import csv
import io
import json
from datetime import date
from pathlib import Path

import pytest

from quality.evaluation.report_model import Named, StillCalling
from quality.periods import Month
from quality.report.generate import generate_reports
from tests.integration.quality.conftest import AGENCY, CBI, CHECK_NOTE, NATIONAL_ID, SETAD, QualityStore, at, tally

MEHR, AZAR = Month(1405, 7), Month(1405, 9)
SINCE, LAST_DAY = date(2026, 11, 6), date(2026, 11, 11)
"""15 and 20 Aban 1405."""


@pytest.fixture
def deprecated_calls(quality_store: QualityStore) -> QualityStore:
    """CheckNote is deprecated on 15 Aban. Setad calls before and after, an agency only before, a bank on that day."""

    def deprecate(content: dict[str, list[dict[str, object]]]) -> None:
        service = next(found for found in content["services"] if found["slug"] == "promissory-note-inquiry")
        methods = service["methods"]
        assert isinstance(methods, list)
        methods[0] |= {"notice": "1405-08-12", "deprecated": "1405-08-15", "sunset": "1406-08-20"}

    quality_store.edit("services.yaml", deprecate)
    quality_store.observe([at(3), at(14, 23, 59), at(20)], CHECK_NOTE, SETAD, tally(1000, consumer=100, ungranted=10))
    quality_store.observe([at(16)], CHECK_NOTE, SETAD, tally(0, throttled=7))
    quality_store.observe([at(14, 23, 59)], CHECK_NOTE, AGENCY, tally(3))
    quality_store.observe([at(15)], CHECK_NOTE, CBI, tally(0, ungranted=2))
    quality_store.observe([at(20)], NATIONAL_ID, CBI, tally(5))
    return quality_store


def test_callers_since_deprecation(deprecated_calls: QualityStore) -> None:
    """Consumers that called since the deprecation are listed with number of inquiries and last day."""
    setad, cbi = sorted(deprecated_calls.report().still_calling, key=lambda still: still.last_day, reverse=True)

    assert ("setad", SINCE, 1117, LAST_DAY) == (setad.consumer.slug, setad.since, setad.inquiries, setad.last_day)
    assert ("cbi", SINCE, 2, SINCE) == (cbi.consumer.slug, cbi.since, cbi.inquiries, cbi.last_day)


def test_calls_before_deprecation(deprecated_calls: QualityStore) -> None:
    """Calls before the deprecation are not listed."""
    deprecated_calls.observe([at(10, month=MEHR)], CHECK_NOTE, SETAD, tally(4))

    assert () == deprecated_calls.report(month=MEHR).still_calling
    assert {"setad", "cbi"} == {still.consumer.slug for still in deprecated_calls.report().still_calling}


def test_deprecation_in_earlier_month(
    deprecated_calls: QualityStore,
) -> None:
    """Calls of this month to a method deprecated earlier are listed."""
    deprecated_calls.after = AZAR.end_minute + 60
    deprecated_calls.observe([at(2, month=AZAR)], CHECK_NOTE, AGENCY, tally(9))

    [still] = deprecated_calls.report(month=AZAR).still_calling
    assert (SINCE, 9, date(2026, 11, 23)) == (still.since, still.inquiries, still.last_day)


def test_visible_callers(deprecated_calls: QualityStore) -> None:
    """Each audience sees the callers whose traffic it may see, and no others."""
    readers = ("working-group", "provider:mefa", "provider:judiciary-stat-center", "consumer:setad", "consumer:cbi")
    seen = {
        reader: {still.consumer.slug for still in deprecated_calls.report(reader).still_calling} for reader in readers
    }

    assert [{"setad", "cbi"}] * 2 == [seen["working-group"], seen["provider:mefa"]]
    assert {"setad"} == seen["consumer:setad"]
    # The bank was never granted the method, so its report does not show it.
    assert [set(), set()] == [seen["provider:judiciary-stat-center"], seen["consumer:cbi"]]


def test_formats_agree(deprecated_calls: QualityStore) -> None:
    """CSV, JSON and both pages list the callers."""
    folder = generate(deprecated_calls, "working-group")
    reported = json.loads((folder / "figures.json").read_bytes())["still_calling"]
    rows = list(csv.DictReader(io.StringIO((folder / "figures.csv").read_text("utf-8-sig"))))
    table = {(row["consumer"], row["figure"]): row["value"] for row in rows if row["scope"] == "still_calling"}
    english, persian = ((folder / f"report.{language}.html").read_text("utf-8") for language in ("en", "fa"))

    assert {("setad", 1117, "2026-11-11"), ("cbi", 2, "2026-11-06")} == {
        (still["consumer"]["slug"], still["inquiries"], still["last_day"]) for still in reported
    }
    assert {CHECK_NOTE} == {row["subject"] for row in rows if row["scope"] == "still_calling"}
    assert ["2026-11-06", "1117", "2026-11-11"] == [table["setad", name] for name in ("since", "inquiries", "last_day")]
    assert "1,117 inquiries, last on 1405-08-20 (2026-11-11)" in english
    assert "۱٬۱۱۷ استعلام، آخرین بار در ۱۴۰۵/۰۸/۲۰" in persian


def test_no_callers(deprecated_calls: QualityStore) -> None:
    """The page states that there are no callers, and nothing before the deprecation."""
    deprecated_calls.after = AZAR.end_minute + 60
    later = (generate(deprecated_calls, "working-group", AZAR) / "report.en.html").read_text("utf-8")
    before = (generate(deprecated_calls, "working-group", MEHR) / "report.en.html").read_text("utf-8")

    assert "Still called by: nobody" in later
    assert "Deprecated since" in before
    assert "Still called by" not in before


def test_unknown_caller(deprecated_calls: QualityStore) -> None:
    """A caller that is not in the catalogue is listed with its legal id."""
    deprecated_calls.observe([at(21)], CHECK_NOTE, "99000000000", tally(0, ungranted=1))

    named = Named("99000000000", "خارج از فهرست", "Not in the catalogue")
    found = StillCalling(CHECK_NOTE, named, SINCE, 1, date(2026, 11, 12))
    assert found in deprecated_calls.report().still_calling


def generate(quality_store: QualityStore, audience: str, month: Month | None = None) -> Path:
    [found] = generate_reports(
        quality_store.settings, month=str(month or "1405-08"), audiences=[audience], clock=quality_store.clock()
    )
    return found.folder
