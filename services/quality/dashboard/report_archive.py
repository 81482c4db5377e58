"""The reports folder: lists the monthly reports, verifies their signatures and returns their files."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from estelam.core.keys import VerifyingKey
from quality.evaluation.report_model import Named
from quality.periods import Month, MonthError
from quality.report import signing
from quality.report.signing import ReportSignatureError

FILES: Mapping[str, str] = {
    "report.fa.html": "text/html; charset=utf-8",
    "report.en.html": "text/html; charset=utf-8",
    "report.fa.pdf": "application/pdf",
    "report.en.pdf": "application/pdf",
    "figures.csv": "text/csv; charset=utf-8",
    "figures.json": "application/json",
    signing.SIGNATURE_FILE: "application/json",
}
"""Files of a report and their media types."""

_NAME = re.compile(r"(?P<month>[0-9]{4}-[0-9]{2})-(working-group|(provider|consumer)-[a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class ArchivedReport:
    """A report in the folder."""

    name: str
    month: Month
    reader: Named
    issued: datetime | None
    """None if `figures.json` can't be read."""
    inquiries: int | None
    """None if they are not known."""
    broken: int | None
    """Number of objectives that were not met."""
    interim: bool
    is_complete: bool
    """Whether the whole month was read."""
    files: tuple[str, ...]
    """Which of FILES it has."""
    signature_valid: bool
    """Whether the signature covers every file and is valid."""


def list_reports(folder: Path, keys: Mapping[str, VerifyingKey]) -> list[ArchivedReport]:
    """Every report in *folder*, newest month first. One that can't be read is listed with an invalid signature.

    Raises:
        OSError: the folder can't be read.
    """
    if not folder.exists():
        return []
    found = [report for path in sorted(folder.iterdir()) if (report := _read_report(path, keys))]
    return sorted(found, key=lambda one: one.month, reverse=True)


def read_file(folder: Path, name: str, file: str) -> bytes | None:
    """The content of *file* of the report *name*, or None if there is none."""
    if not _NAME.fullmatch(name) or file not in FILES:
        return None
    try:
        return (folder / name / file).read_bytes()
    except OSError:
        return None


def _read_report(path: Path, keys: Mapping[str, VerifyingKey]) -> ArchivedReport | None:
    named = _NAME.fullmatch(path.name)
    if not named:
        return None
    try:
        month = Month.parse(named["month"])
    except MonthError:
        return None
    try:
        report = json.loads((path / "figures.json").read_bytes())
        verdicts = [verdict for result in report["slo_results"] for verdict in result["verdicts"]]
        return ArchivedReport(
            name=path.name,
            month=month,
            reader=Named(**report["reader"]),
            issued=datetime.fromisoformat(report["issued"]),
            inquiries=int(report["counts"]["inquiries"]) if report["counts"] else None,
            broken=_broken([verdict["met"] for verdict in verdicts]),
            interim=bool(report["interim"]),
            is_complete=bool(report["is_complete"]),
            files=_files(path),
            signature_valid=_signature_valid(path, keys),
        )
    except (OSError, ValueError, KeyError, TypeError):
        unknown = Named(path.name, path.name, path.name)
        return ArchivedReport(
            path.name,
            month,
            unknown,
            None,
            inquiries=None,
            broken=None,
            interim=False,
            is_complete=False,
            files=_files(path),
            signature_valid=False,
        )


def _files(path: Path) -> tuple[str, ...]:
    return tuple(name for name in FILES if (path / name).is_file())


def _signature_valid(path: Path, keys: Mapping[str, VerifyingKey]) -> bool:
    try:
        signing.verify(path, keys)
    except ReportSignatureError:
        return False
    return True


def _broken(met: list[bool | None]) -> int | None:
    """Number of objectives that were not met; None if none was measured."""
    measured = [one for one in met if one is not None]
    return measured.count(False) if measured else None
