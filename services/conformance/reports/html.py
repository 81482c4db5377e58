"""A run as one page in Persian and English: it needs no network, no script and no other file, and can be printed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from persiantools.jdatetime import JalaliDateTime

from conformance import case_loader
from conformance.case import Title
from conformance.reports.labels import OUTCOMES, STANDINGS, counted, outcome, shown
from conformance.results import Result, Standing, Verdict
from estelam.core.clock import TEHRAN

_TEMPLATE = Path(__file__).with_name("page.html")
_MARKS = {
    Standing.PASSED: "✓",
    Standing.FAILED: "✗",
    Standing.NOT_RUN: "–",
    Standing.KNOWN: "!",
    Standing.STALE: "?",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One clause, and how its cases stand."""

    id: str
    clause: Title
    results: Sequence[Result]

    @property
    def passed(self) -> int:
        """How many of them passed."""
        return sum(result.standing is Standing.PASSED for result in self.results)


def write(path: Path, verdict: Verdict) -> None:
    """Write *verdict* to *path*."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_final
    )
    page = environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        verdict=verdict,
        outcome=OUTCOMES[outcome(verdict)],
        conforms=verdict.conforms,
        counts=counted(verdict),
        marks=_MARKS,
        standings=STANDINGS,
        rows=_rows(verdict),
        faults=[result for result in verdict.results if result.standing is not Standing.PASSED],
        began=verdict.began.astimezone(TEHRAN).isoformat(sep=" ", timespec="seconds"),
        began_fa=_jalali(verdict.began),
        kit=version("estelam"),
    )
    path.write_text(page, "utf-8")


def _rows(verdict: Verdict) -> list[Row]:
    """The clauses that were examined, in the order of the resolutions."""
    clauses = case_loader.clauses()
    examined = Counter(result.case.clause for result in verdict.results)
    return [
        Row(name, clause, [result for result in verdict.results if result.case.clause == name])
        for name, clause in clauses.items()
        if examined[name]
    ]


def _jalali(instant: datetime) -> str:
    local = JalaliDateTime.to_jalali(instant.astimezone(TEHRAN))  # type: ignore[no-untyped-call]
    return str(local.strftime("%Y/%m/%d %H:%M:%S"))


def _final(value: object) -> object:
    """Whatever is put into the page, what a server said above all, has nothing in it that steers a reader's eye."""
    return shown(value) if type(value) is str else value
