"""The monthly reports that lie in the reports' folder: listed, each with its signature checked, and handed out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from quality.evaluation.report_model import Named
from quality.periods import Month, MonthError
from quality.report import signing
from quality.report.signing import UnprovenReport

FILES: Mapping[str, str] = {
    "report.fa.html": "text/html; charset=utf-8",
    "report.en.html": "text/html; charset=utf-8",
    "figures.csv": "text/csv; charset=utf-8",
    "figures.json": "application/json",
    signing.FILE: "application/json",
}
"""What a report consists of, and as what it is handed out."""

_NAME = re.compile(r"(?P<month>[0-9]{4}-[0-9]{2})-(working-group|(provider|consumer)-[a-z0-9-]+)")


@dataclass(frozen=True, slots=True)
class Shelved:
    """A report."""

    name: str
    month: Month
    reader: Named
    issued: datetime | None
    """None where its figures can't be read."""
    inquiries: int
    broken: int
    """Objectives that were not met."""
    interim: bool
    genuine: bool
    """Whether its signature proves every file of it."""


def reports(folder: Path, keys: Mapping[str, Ed25519PublicKey]) -> list[Shelved]:
    """Every report in *folder*, the newest month first; one whose figures can't be read is there too, and not genuine.

    Raises:
        OSError: the folder can't be read.
    """
    if not folder.exists():
        return []
    found = [shelved for place in sorted(folder.iterdir()) if (shelved := _shelved(place, keys))]
    return sorted(found, key=lambda one: one.month, reverse=True)


def file(folder: Path, name: str, file: str) -> bytes | None:
    """One *file* of the report *name*; None where there is none."""
    if not _NAME.fullmatch(name) or file not in FILES:
        return None
    try:
        return (folder / name / file).read_bytes()
    except OSError:
        return None


def _shelved(place: Path, keys: Mapping[str, Ed25519PublicKey]) -> Shelved | None:
    named = _NAME.fullmatch(place.name)
    if not named:
        return None
    try:
        month = Month.parse(named["month"])
    except MonthError:
        return None
    try:
        figures = json.loads((place / "figures.json").read_bytes())
        verdicts = [verdict for judged in figures["judged"] for verdict in judged["verdicts"]]
        return Shelved(
            name=place.name,
            month=month,
            reader=Named(**figures["reader"]),
            issued=datetime.fromisoformat(figures["issued"]),
            inquiries=int(figures["counts"]["inquiries"]),
            broken=sum(verdict["met"] is False for verdict in verdicts),
            interim=bool(figures["interim"]),
            genuine=_genuine(place, keys),
        )
    except (OSError, ValueError, KeyError, TypeError):
        unknown = Named(place.name, place.name, place.name)
        return Shelved(place.name, month, unknown, None, inquiries=0, broken=0, interim=False, genuine=False)


def _genuine(place: Path, keys: Mapping[str, Ed25519PublicKey]) -> bool:
    try:
        signing.verify(place, keys)
    except UnprovenReport:
        return False
    return True
