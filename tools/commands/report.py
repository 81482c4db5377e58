"""`make report`: generate a synthetic month and its reports for all audiences in .estelam-report."""

import contextlib
import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from development.sample_monitoring import AGREEMENTS, EXCHANGE
from estelam.auth.dev_ca import DevCertificateAuthority
from estelam.core.clock import Clock, to_micros
from estelam.storage.migrate import migrate
from estelam.storage.store import AccessMode, Store
from quality.periods import Month, instant_of
from quality.report.generate import generate_reports
from quality.report.pdf import render_pdf
from quality.settings import QualitySettings
from tools.env import synthetic_month

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(".estelam-report")
READERS = ("working-group", "provider:mefa", "provider:judiciary-stat-center", "consumer:setad", "consumer:cbi")

out = Console(highlight=False, soft_wrap=True)


def quality_home(folder: Path) -> QualitySettings:
    """An empty quality store in *folder*, with certificate, rules and catalogue."""
    catalogue = folder / "catalogue"
    shutil.copytree(ROOT / "catalogue", catalogue)
    (catalogue / "agreements.yaml").write_text(AGREEMENTS, "utf-8")
    DevCertificateAuthority.create(folder / "pki").issue_signing(
        "quality-reports",
        EXCHANGE,
        since=datetime(2020, 1, 1, tzinfo=UTC),  # before any month that may be shown
    )
    settings = QualitySettings(
        store=f"sqlite:///{folder / 'store'}",
        catalogue=catalogue,
        rules=ROOT / "rules" / "quality.toml",
        signing_key=folder / "pki" / "quality-reports.key",
        signing_certificates=(folder / "pki" / "quality-reports.crt",),
        reports=folder / "reports",
    )
    migrate(settings.store, QualitySettings.MIGRATIONS)
    return settings


def day_after(month: Month) -> Clock:
    """A clock fixed on the day after the end of *month*."""
    micros = to_micros(instant_of(month.end_minute + 9 * 60))
    return replace(Clock(), micros=lambda: micros)


def main(
    folder: Annotated[Path, typer.Option(help="Folder of the store and the reports; it is deleted first.")] = Path(
        ".estelam-report"
    ),
    month: Annotated[str, typer.Option(help="The Jalali month.")] = "1405-08",
) -> None:
    """Generate a month with planned and unplanned outages and a consumer's fault, and report it to all audiences."""
    if folder.exists():
        shutil.rmtree(folder)
    settings = quality_home(folder.resolve())
    which = Month.parse(month)
    began = time.monotonic()
    with contextlib.closing(Store(settings.store, facts=AccessMode.WRITE)) as store, store.transaction() as connection:
        seeded = synthetic_month.seed(connection, which)
    out.print(f"{seeded.inquiries:,} inquiries in {month} in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    for written in generate_reports(
        settings, month=month, audiences=READERS, clock=day_after(which), render_paper=render_pdf
    ):
        out.print(
            f"{written.inquiries:>10,} inquiries {written.broken:3} objectives not met   {_short(written.folder)}"
        )
    out.print(f"{len(READERS)} reports in {time.monotonic() - began:.1f} s")
    out.print("\nOpen report.fa.html of any folder in a browser; *.en.html is the English version, *.pdf the same.")


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    typer.run(main)
