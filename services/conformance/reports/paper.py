"""Result of a run as one page of PDF, in Persian or English, with the signed JSON report attached."""

from datetime import UTC
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from conformance.case import Title
from conformance.reports.labels import LIMITS, OUTCOME_LABELS, PROFILE_LABELS, STATUS_LABELS, status_counts
from conformance.reports.signed_json import signed_report
from conformance.results import Outcome, RunResult
from estelam.core.escape import visible_lines
from estelam.core.files import write_atomic
from estelam.presentation import pdf
from estelam.presentation.formats import Formats
from estelam.presentation.qr import qr_code

_TEXTS = {
    "title": Title(fa="نتیجه آزمون مطابقت", en="Result of the conformance test"),
    "subject": Title(
        fa="مصوبات بیست‌وچهارمین جلسه کارگروه تعامل‌پذیری دولت الکترونیکی",
        en="Resolutions of the 24th session of the e-government interoperability working group",
    ),
    "author": Title(fa="استعلام", en="estelam"),
    "profiles": Title(fa="نتیجه هر نمایه", en="Result of each profile"),
    "cases": Title(fa="آزمون‌ها", en="Cases"),
    "run": Title(fa="اجرا", en="Run"),
    "address": Title(fa="نشانی", en="address of"),
    "began": Title(fa="آغاز، به وقت تهران", en="started, Tehran time"),
    "took": Title(fa="مدت، به ثانیه", en="seconds"),
    "kit": Title(fa="نسخه ابزار آزمون", en="kit"),
    "excluded": Title(fa="کنار گذاشته‌شده", en="excluded"),
    "not_applicable": Title(fa="موارد خاص gRPC", en="about gRPC alone"),
    "of": Title(fa="از", en="of"),
    "error": Title(fa="چرا اجرا نشد", en="Why it could not run"),
    "limits": LIMITS,
    "digest": Title(fa="SHA-256 گزارش", en="SHA-256 of the report"),
    "check": Title(fa="چگونه بررسی کنید", en="How to check it"),
    "attached": Title(
        fa="گزارش کامل و امضای آزمون‌گر پیوست است. آن‌ها را بیرون آورید و با گواهی آزمون‌گر بررسی کنید:",
        en="The whole report and the examiner's signature are attached. Take them out, and verify them with the "
        "examiner's certificate:",
    ),
    "warning": Title(
        fa="تنها گزارش امضاشده پیوست سند است. این صفحه را هر کسی می‌تواند تغییر دهد.",
        en="Only the signed report that is attached is proof. Anyone can alter this page.",
    ),
}
_COMMANDS = (
    "pdfdetach -saveall RESULT.pdf",
    "openssl x509 -in examiner.crt -noout -pubkey > examiner.pem",
    "openssl pkeyutl -verify -rawin -pubin -inkey examiner.pem -in report.json -sigfile report.json.sig",
)
_TONES = {Outcome.CONFORMS: "yes", Outcome.FAILS: "no", Outcome.PARTIAL: "none", Outcome.NOT_RUN: "no"}


def write(path: Path, run: RunResult, pki: Path, language: str) -> None:
    """Write the result of *run* to *path*, signed with `examiner.key` in *pki*.

    Raises:
        SignatureError: the examiner's key can't be used.
        PaperError: it can't be made.
    """
    formats = Formats(language)
    report, signature = signed_report(run, pki)
    texts = {name: _in(text, language) for name, text in _TEXTS.items()}
    digest = sha256(report).hexdigest()
    data = {
        "language": language,
        "title": texts["title"],
        "author": texts["author"],
        "date": list(run.began.astimezone(UTC).timetuple()[:6]),
        "footer": f"estelam {version('estelam')}",
        "texts": texts,
        "outcome": _in(OUTCOME_LABELS[run.outcome], language),
        "tone": _TONES[run.outcome],
        "error": visible_lines(run.error),
        "profiles": [
            {
                "name": str(profile),
                "label": _in(PROFILE_LABELS[profile], language),
                "outcome": _in(OUTCOME_LABELS[verdict.outcome], language),
                "tone": _TONES[verdict.outcome],
                "passed": f"{formats.count(verdict.passed)} {texts['of']} {formats.count(verdict.of)}",
            }
            for profile, verdict in run.verdicts.items()
        ],
        "cases": [
            *((_in(STATUS_LABELS[status], language), formats.count(n), "") for status, n in status_counts(run).items()),
            *((texts["excluded"], formats.count(n), "") for n in [run.left_out + len(run.cut)] if n),
            *((texts["not_applicable"], formats.count(n), "") for n in [run.not_applicable] if n),
        ],
        "run": [
            *((f"{texts['address']} {name}", address, "code") for name, address in run.targets.items()),
            (texts["began"], formats.second(run.began), ""),
            (texts["took"], formats.number(run.seconds, 1), ""),
            (texts["kit"], version("estelam"), "code"),
            (texts["digest"], digest, "code"),
        ],
        "commands": _COMMANDS,
        "signature": list(signature),
    }
    template = (files(__package__) / "paper.typ").read_text("utf-8")
    write_atomic(path, pdf.typeset(template, data, report_json=report, qr_svg=qr_code(digest, border=0).encode()))


def _in(text: Title, language: str) -> str:
    return text.fa if language == "fa" else text.en
