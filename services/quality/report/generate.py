"""A monthly report, from the store to a folder of files: two pages, a table, the report and the signature."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from estelam.catalogue import loader
from estelam.core.clock import Clock
from estelam.core.keys import SigningKey
from estelam.storage.store import Store
from quality import slo
from quality.evaluation.audience import Audience
from quality.evaluation.build import AudienceView, build_report
from quality.evaluation.period_data import load_period
from quality.evaluation.report_model import Report
from quality.periods import Month, MonthError, minute_of
from quality.report import signing
from quality.report.export import as_csv, as_json
from quality.report.html import LANGUAGES, ReportSignature, render_page
from quality.settings import QualitySettings


@dataclass(frozen=True, slots=True)
class GeneratedReport:
    """A report that lies in a folder, and how it came out."""

    folder: Path
    inquiries: int
    broken: int
    """Objectives that were not met."""
    interim: bool


def generate_reports(
    settings: QualitySettings, *, month: str, audiences: Sequence[str], clock: Clock
) -> list[GeneratedReport]:
    """Write the reports of *month* for its *audiences*, each into its folder, in place of an earlier one.

    Raises:
        MonthError: no such month, or it lies in the future.
    """
    which, now = Month.parse(month), clock.now()
    if which.first_minute > minute_of(now):
        raise MonthError(f"{which} has not begun yet")
    catalogue = loader.read_catalogue(settings.catalogue)
    readers = [Audience.parse(audience, catalogue) for audience in audiences]
    rules = slo.read(settings.rules, catalogue)
    signer = SigningKey.load(settings.signing_key)
    with contextlib.closing(Store(settings.store)) as store, store.transaction() as connection:
        data = load_period(connection, period=which, now=minute_of(now), catalogue=catalogue, rules=rules)
    return [
        _report(settings, build_report(AudienceView(data, reader, catalogue, rules), now), signer) for reader in readers
    ]


def _report(settings: QualitySettings, report: Report, signer: SigningKey) -> GeneratedReport:
    data = as_json(report)
    files = {"figures.json": data, "figures.csv": as_csv(report)}
    proof = json.loads(signing.sign({"figures.json": data}, signer))["files"]["figures.json"]["signature"]
    seal = ReportSignature(signer.key_id, hashlib.sha256(data).hexdigest(), proof)
    files |= {f"report.{language}.html": render_page(report, language, seal) for language in LANGUAGES}
    folder = settings.reports / f"{report.month}-{report.audience}"
    _write(folder, files | {signing.SIGNATURE_FILE: signing.sign(files, signer)})
    broken = sum(verdict.met is False for judged in report.slo_results for verdict in judged.verdicts)
    return GeneratedReport(folder, report.counts.inquiries, broken, report.interim)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files or none: whoever looks meanwhile sees the earlier report or this one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".report-") as scratch:
        draft = Path(scratch) / "draft"
        draft.mkdir()
        for name, content in files.items():
            with (draft / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(Path(scratch) / "earlier")
        draft.rename(folder)
        shutil.rmtree(Path(scratch) / "earlier", ignore_errors=True)
