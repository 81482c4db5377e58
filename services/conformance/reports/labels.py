"""Texts that all reports share, and the escaping of texts that a target sent."""

from enum import StrEnum

from conformance.case import Title
from conformance.results import CaseStatus, RunResult

STATUS_LABELS = {
    CaseStatus.PASSED: Title(en="passed", fa="پذیرفته‌شده"),
    CaseStatus.FAILED: Title(en="failed", fa="مردود"),
    CaseStatus.NOT_RUN: Title(en="not run", fa="اجرا نشده"),
    CaseStatus.KNOWN: Title(en="known to fail", fa="مردودِ شناخته‌شده"),
    CaseStatus.STALE: Title(en="known to fail, and passed", fa="در فهرست مردودها، ولی پذیرفته‌شده"),
}


class Outcome(StrEnum):
    """The outcome of a whole run."""

    CONFORMS = "CONFORMS"
    FAILS = "DOES NOT CONFORM"
    NOT_RUN = "COULD NOT RUN"


OUTCOME_LABELS = {
    Outcome.CONFORMS: Title(en="CONFORMS", fa="مطابق است"),
    Outcome.FAILS: Title(en="DOES NOT CONFORM", fa="مطابق نیست"),
    Outcome.NOT_RUN: Title(en="COULD NOT RUN", fa="اجرا نشد"),
}


def outcome(run: RunResult) -> Outcome:
    """Return the outcome of *run*."""
    if run.error:
        return Outcome.NOT_RUN
    return Outcome.CONFORMS if run.conforms else Outcome.FAILS


def status_counts(run: RunResult) -> dict[CaseStatus, int]:
    """Return the number of cases of each status that any case has."""
    counts = {status: len(run.with_status(status)) for status in CaseStatus}
    return {status: count for status, count in counts.items() if count}
