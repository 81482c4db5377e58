"""Documents in one file, which are sent by mail and read on a phone, stay small."""

from datetime import UTC, datetime

import pytest

from conformance import case_loader
from conformance.reports import html
from conformance.results import CaseResult, CaseStatus, Failure, RunResult
from estelam.catalogue import loader
from estelam.catalogue.registry_labels import registry_labels
from estelam.data_model import export
from estelam.data_model.model import load
from estelam.presentation.style import font_url
from quality.attribution import Attribution
from quality.report.generate import generate_reports
from tests.integration.quality.conftest import CHECK_NOTE, SETAD, QualityStore, at, tally
from tools.env.synthetic_month import STREAMS

MOST_BYTES = 100 * 1024
DAYS = range(1, 31)
FAILED = 20


def monthly_report(quality_store: QualityStore) -> str:
    """A report of every method with traffic, failures and an outage on each day."""
    for stream in STREAMS:
        minutes = [at(day, 12) for day in DAYS]
        quality_store.observe(
            minutes, stream.method, stream.consumer, tally(45_678, provider=987, consumer=654, throttled=32)
        )
    for day in (4, 9, 14, 19):
        quality_store.probe(range(at(day, 3), at(day, 3, 30)), CHECK_NOTE, SETAD, Attribution.PROVIDER)
        quality_store.announce(at(day, 20), at(day, 22), hours=90)
    [found] = generate_reports(
        quality_store.settings, month="1405-08", audiences=["working-group"], clock=quality_store.clock()
    )
    return (found.folder / "report.fa.html").read_text("utf-8")


def conformance_report(quality_store: QualityStore) -> str:
    """The report of a run of all cases, some of which failed."""
    results = [CaseResult(case, CaseStatus.PASSED) for case in case_loader.read()]
    for result in results[:: len(results) // FAILED][:FAILED]:
        result.status = CaseStatus.FAILED
        result.failures = [
            Failure(1, "status OK, answer YES", "status UNAVAILABLE", result.case.clause, result.case.profile)
        ]
    path = quality_store.settings.reports.parent / "conformance.html"
    html.write(path, RunResult(datetime(2026, 11, 24, tzinfo=UTC), 60.0, {"promissory": "localhost:50051"}, results))
    return path.read_text("utf-8")


def dictionary(quality_store: QualityStore) -> str:
    """The exported data dictionary."""
    return export.render_page(load(), registry_labels(loader.read_catalogue(quality_store.settings.catalogue)))


@pytest.mark.parametrize("document", [monthly_report, conformance_report, dictionary])
def test_weight(document: object, quality_store: QualityStore) -> None:
    """A document in one file is below 100 KiB without the font."""
    text = document(quality_store)  # type: ignore[operator]
    assert font_url() in text
    assert len(text.replace(font_url(), "").encode()) < MOST_BYTES
