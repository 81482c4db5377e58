"""Texts that all reports share, and the escaping of texts that a target sent."""

from conformance.case import Title
from conformance.profile import Profile
from conformance.results import CaseStatus, Outcome, RunResult, Verdict

STATUS_LABELS = {
    CaseStatus.PASSED: Title(en="passed", fa="پذیرفته‌شده"),
    CaseStatus.FAILED: Title(en="failed", fa="مردود"),
    CaseStatus.NOT_RUN: Title(en="not run", fa="اجرا نشده"),
    CaseStatus.KNOWN: Title(en="known to fail", fa="مردودِ شناخته‌شده"),
    CaseStatus.STALE: Title(en="known to fail, and passed", fa="در فهرست مردودها، ولی پذیرفته‌شده"),
}


OUTCOME_LABELS = {
    Outcome.CONFORMS: Title(en="CONFORMS", fa="مطابق است"),
    Outcome.FAILS: Title(en="DOES NOT CONFORM", fa="مطابق نیست"),
    Outcome.PARTIAL: Title(en="PARTIAL RUN", fa="اجرای ناقص"),
    Outcome.NOT_RUN: Title(en="COULD NOT RUN", fa="اجرا نشد"),
}
PROFILE_LABELS = {
    Profile.CORE: Title(
        en="what the resolutions order, with authorization and a NO that is earned",
        fa="آنچه مصوبات مقرر کرده، با احراز مجوز و خیرِ مستند",
    ),
    Profile.ERRORS: Title(
        en="core, with the details of refusals, limits and metadata", fa="هسته، با جزئیات رد، حدود و فراداده"
    ),
    Profile.RECEIPTS: Title(en="core, with the ledger and its receipts", fa="هسته، با دفتر و رسیدهای آن"),
    Profile.FULL: Title(en="everything", fa="همه الزامات"),
}


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict in words and numbers."""
    if verdict.outcome is Outcome.PARTIAL:
        return f"partial run: {verdict.ran} of {verdict.of} cases"
    return f"{verdict.outcome}, {verdict.passed} of {verdict.of} cases passed"


def status_counts(run: RunResult) -> dict[CaseStatus, int]:
    """Return the number of cases of each status that any case has."""
    counts = {status: len(run.with_status(status)) for status in CaseStatus}
    return {status: count for status, count in counts.items() if count}
