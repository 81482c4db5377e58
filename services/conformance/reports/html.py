"""Report as one HTML page, which shows Persian or English, without network access, scripts or other files."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from conformance import case_loader
from conformance.case import Title
from conformance.reports.labels import (
    LIMITS,
    OUTCOME_LABELS,
    PROFILE_LABELS,
    STATUS_LABELS,
    not_passed,
    sent_texts,
    status_counts,
)
from conformance.results import CaseResult, CaseStatus, Outcome, RunResult
from estelam.core.escape import visible_lines
from estelam.core.files import write_atomic
from estelam.presentation.formats import Formats
from estelam.presentation.style import DOCUMENT_POLICY, inline_style, without_blanks

_TEMPLATE = Path(__file__).with_name("page.html")
_STYLE = Path(__file__).with_name("page.css")
_MARKS = {
    CaseStatus.PASSED: "✓",
    CaseStatus.FAILED: "✗",
    CaseStatus.NOT_RUN: "–",
    CaseStatus.KNOWN: "!",
    CaseStatus.STALE: "?",
}
_CLASSES = {status: status.name.lower().replace("_", "-") for status in CaseStatus}
_COLOURS = {Outcome.CONFORMS: "good", Outcome.FAILS: "bad", Outcome.PARTIAL: "odd", Outcome.NOT_RUN: "bad"}


@dataclass(frozen=True, slots=True)
class Row:
    """One clause and the results of its cases."""

    id: str
    clause: Title
    results: Sequence[CaseResult]

    @property
    def passed(self) -> int:
        """Number of cases that met the clause."""
        return len(self.results) - len(self.not_passed)

    @property
    def not_passed(self) -> Sequence[CaseResult]:
        """The cases that did not meet the clause, or did not run."""
        return [result for result in self.results if not result.passes_clause(self.id)]


def write(path: Path, run: RunResult) -> None:
    """Write the report of *run* to *path*."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_final
    )
    persian, english = Formats("fa"), Formats("en")
    environment.filters["persian_digits"] = persian.count
    page = environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        run=run,
        outcome=OUTCOME_LABELS[run.outcome],
        outcomes=OUTCOME_LABELS,
        profiles=PROFILE_LABELS,
        verdicts=run.verdicts,
        clauses=case_loader.clauses(),
        left_out=run.left_out + len(run.cut),
        not_applicable=run.not_applicable,
        counts=status_counts(run),
        marks=_MARKS,
        colours=_COLOURS,
        labels=STATUS_LABELS,
        rows=_rows(run),
        passed=_passed_ids(run),
        classes=_CLASSES,
        limits=LIMITS,
        policy=DOCUMENT_POLICY,
        style=Markup(inline_style() + _style()),  # noqa: S704 - our own files
        failed=not_passed(run),
        sent_texts=sent_texts,
        began=english.second(run.began),
        began_fa=persian.second(run.began),
        kit=version("estelam"),
    )
    write_atomic(path, page)


def _passed_ids(run: RunResult) -> list[tuple[str, str]]:
    """Return the ids of the cases that passed: for each common beginning, up to its last dot, how they go on.

    A thousand titles in two languages would be most of the page; ids alone are a tenth of it.
    """
    parts = [result.case.id.rpartition(".") for result in run.with_status(CaseStatus.PASSED)]
    return [(begin, " ".join(end for *_, end in group)) for begin, group in groupby(parts, key=itemgetter(0))]


def _style() -> str:
    """Return the page's style, with the rules by which it shows the cases of one status."""
    hidden = (f"html:has([value={one}]:checked) :is(.case, .cell):not(.{one})" for one in _CLASSES.values())
    rows = (f"html:has([value={one}]:checked) .clause:not(:has(.{one}))" for one in _CLASSES.values())
    return without_blanks(f"{_STYLE.read_text('utf-8')}{', '.join([*hidden, *rows])} {{ display: none; }}")


def _rows(run: RunResult) -> list[Row]:
    """Return the tested clauses in the order of the resolutions: each with its cases, and others that violated it."""
    rows = [
        Row(name, clause, [result for result in run.results if name in result.clauses])
        for name, clause in case_loader.clauses().items()
    ]
    return [row for row in rows if row.results]


def _final(value: object) -> object:
    """Escape control and direction characters in every text, since targets may send them."""
    return visible_lines(value) if type(value) is str else value
