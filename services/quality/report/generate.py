"""Generates the monthly reports: for each audience a folder with two pages, CSV, JSON and their signature."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from estelam.catalogue import loader
from estelam.core.clock import Clock
from estelam.core.exceptions import UsageError
from estelam.core.files import sync_folder, write_atomic
from estelam.core.keys import SigningKey, VerifyingKey, verifying_keys
from estelam.storage.store import Store
from quality import slo
from quality.evaluation.audience import Audience
from quality.evaluation.build import AudienceView, build_report
from quality.evaluation.period_data import load_period
from quality.evaluation.report_model import Coverage, Report
from quality.periods import Month, MonthError, minute_of
from quality.report import signing
from quality.report.export import as_csv, as_json
from quality.report.html import LANGUAGES, ReportSignature, render_page
from quality.report.published import folder_of, read_published
from quality.settings import QualitySettings


@dataclass(frozen=True, slots=True)
class GeneratedReport:
    """A report that was written, and its summary."""

    folder: Path
    inquiries: int | None
    """None if they are not known."""
    broken: int | None
    """Number of objectives that were not met; None if none was measured."""
    interim: bool
    is_complete: bool
    """Whether something was measured, and the inquiries of all methods were read to the end of the data."""


RenderPaper = Callable[[bytes, Report, str, bytes], bytes]
"""`render_pdf`, for whose libraries an extra is needed: of a page, its report, its language and the figures."""


class ReportExistsError(UsageError):
    """A final report would be replaced."""


def generate_reports(
    settings: QualitySettings,
    *,
    month: str,
    audiences: Sequence[str],
    clock: Clock,
    force: bool = False,
    render_paper: RenderPaper | None = None,
) -> list[GeneratedReport]:
    """Write the reports of *month* (Jalali, as 1405-08), one folder for each audience.

    An audience is working-group, provider:NAME or consumer:NAME. An interim report, issued before the month's end, and
    one of a month in which nothing was measured are replaced; a final one only with *force*, since it is evidence.
    With *render_paper* each page is written as a PDF too.

    Raises:
        MonthError: *month* is malformed or in the future.
        AudienceError: the catalogue has no such audience.
        ReportExistsError: a final report of one of the audiences exists, or a report that can't be read.
    """
    period, now = Month.parse(month), clock.now()
    if period.first_minute > minute_of(now):
        raise MonthError(f"{period} has not begun yet")
    catalogue = loader.read_catalogue(settings.catalogue)
    readers = [Audience.parse(audience, catalogue) for audience in audiences]
    if not force:
        for reader in readers:
            _check_replaceable(folder_of(settings.reports, period, reader.name))
    rules = slo.read(settings.rules, catalogue)
    keys = verifying_keys(settings.signing_certificates, settings.retired_keys)
    signer = SigningKey.load(settings.signing_key, settings.signing_certificates, settings.retired_keys)
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        data = load_period(connection, period=period, now=minute_of(now), catalogue=catalogue, rules=rules)
    reports = (build_report(AudienceView(data, reader, catalogue, rules), now) for reader in readers)
    return [_report(settings, _compared(settings, report, keys), signer, render_paper) for report in reports]


def _compared(settings: QualitySettings, report: Report, keys: Mapping[str, VerifyingKey]) -> Report:
    """Return *report* with what the month before was like, if its report was published."""
    earlier = read_published(settings.reports, Month.parse(report.month).before(), report.audience, keys)
    return replace(report, before=earlier.as_earlier() if earlier else None)


def _report(
    settings: QualitySettings, report: Report, signer: SigningKey, render_paper: RenderPaper | None
) -> GeneratedReport:
    content = as_json(report)
    files = {"figures.json": content, "figures.csv": as_csv(report)}
    signature_hex = json.loads(signing.sign({"figures.json": content}, signer, report.issued))["files"]["figures.json"][
        "signature"
    ]
    signature = ReportSignature(signer.key_id, hashlib.sha256(content).hexdigest(), signature_hex)
    for language in LANGUAGES:
        page = files[f"report.{language}.html"] = render_page(report, language, signature)
        if render_paper:
            files[f"report.{language}.pdf"] = render_paper(page, report, language, content)
    folder = folder_of(settings.reports, Month.parse(report.month), report.audience)
    _write(folder, files | {signing.SIGNATURE_FILE: signing.sign(files, signer, report.issued)})
    met = report.verdicts_met
    broken = met.count(False) if met else None
    return GeneratedReport(
        folder, report.counts.inquiries if report.counts else None, broken, report.interim, report.is_complete
    )


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    try:
        figures = json.loads((folder / "figures.json").read_bytes())
        is_replaceable = figures["interim"] is True or figures["coverage"] == Coverage.NOT_MEASURED
    except (OSError, ValueError, KeyError, TypeError):
        raise ReportExistsError(f"{folder}: a report that can't be read is there; replace it with --force") from None
    if not is_replaceable:
        raise ReportExistsError(f"{folder}: the final report was issued already; replace it with --force")


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Replace *folder* atomically: a concurrent reader sees the earlier report or this one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".report-") as scratch:
        draft = Path(scratch) / "draft"
        draft.mkdir()
        for name, content in files.items():
            write_atomic(draft / name, content, durable=True)
        if folder.exists():
            folder.rename(Path(scratch) / "earlier")
        draft.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(Path(scratch) / "earlier", ignore_errors=True)
