"""Texts that all reports share, and the escaping of texts that a target sent."""

import json
from collections.abc import Mapping
from typing import Any

from conformance.case import Case, Title
from conformance.profile import Profile
from conformance.results import CaseResult, CaseStatus, Outcome, RunResult, Verdict

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


LIMITS = Title(
    en="CONFORMS means that every case of the profile ran and passed, on the fixtures and at the time above; it says "
    "nothing about real data, capacity or the network’s security.",
    fa="«مطابق است» یعنی همه آزمون‌های همان نمایه اجرا و پذیرفته شدند، بر داده‌های آزمایشی و در زمان بالا؛ نه چیزی "
    "درباره درستی داده‌های واقعی، کارایی یا امنیت شبکه.",
)
_SHOWN_CHARACTERS = 600
"""Of a longer request, a text shows the beginning; the JSON report has all."""
_ORDER = (CaseStatus.FAILED, CaseStatus.KNOWN, CaseStatus.STALE, CaseStatus.NOT_RUN)


def not_passed(run: RunResult) -> list[CaseResult]:
    """Return the results that did not pass: what failed, and then what could not run."""
    return [result for status in _ORDER for result in run.with_status(status)]


def sent_step(case: Case, number: int) -> Mapping[str, Any]:
    """Return what step *number* of *case* did, counted from 1: its target, caller, method, request and metadata."""
    own = case.steps[number - 1].model_dump(mode="json", exclude_defaults=True, exclude={"expect"})
    return {"target": case.target.value, "caller": case.caller} | own


def sent_texts(case: Case, number: int) -> tuple[str, str]:
    """Return what step *number* of *case* did, in two lines: what was called by whom, and the rest as JSON."""
    sent = dict(sent_step(case, number))
    target, caller = sent.pop("target"), sent.pop("caller")
    action = sent.pop("call", None) or next(name for name in ("health", "deny", "change") if name in sent)
    rest = json.dumps(sent, ensure_ascii=False)
    if len(rest) > _SHOWN_CHARACTERS:
        rest = f"{rest[:_SHOWN_CHARACTERS]}…"
    return f"{action} of {target} by {caller}", rest


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict in words and numbers."""
    if verdict.outcome is Outcome.PARTIAL:
        return f"partial run: {verdict.ran} of {verdict.of} cases"
    return f"{verdict.outcome}, {verdict.passed} of {verdict.of} cases passed"


def status_counts(run: RunResult) -> dict[CaseStatus, int]:
    """Return the number of cases of each status that any case has."""
    counts = {status: len(run.with_status(status)) for status in CaseStatus}
    return {status: count for status, count in counts.items() if count}
