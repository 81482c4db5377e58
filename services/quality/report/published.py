"""Published reports, read again: those of a whole month whose signature is valid."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from estelam.core.keys import VerifyingKey
from quality.evaluation.report_model import VERSION, Report
from quality.periods import Month
from quality.report import signing
from quality.report.signing import ReportSignatureError

_REPORT = TypeAdapter(Report)


def folder_of(reports: Path, month: Month, audience: str) -> Path:
    """The folder of the report of *month* for *audience*, in the folder of *reports*."""
    return reports / f"{month}-{audience}"


def read_published(reports: Path, month: Month, audience: str, keys: Mapping[str, VerifyingKey]) -> Report | None:
    """Return the report of the whole *month* for *audience*; None if there is none with a valid signature."""
    folder = folder_of(reports, month, audience)
    try:
        signing.verify(folder, keys)
        report = _REPORT.validate_json((folder / signing.FIGURES_FILE).read_bytes())
    except (ReportSignatureError, OSError, ValueError):
        return None
    return report if report.version == VERSION and not report.interim else None
