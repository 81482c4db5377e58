"""Report on the terminal: progress, then what failed, then the outcome."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from conformance import case_loader
from conformance.reports.labels import not_passed, sent_texts, status_counts, verdict_text
from conformance.results import CaseResult, CaseStatus, Outcome, RunResult
from estelam.core.escape import visible_lines

_STYLES = {
    Outcome.CONFORMS: "bold green",
    Outcome.FAILS: "bold red",
    Outcome.PARTIAL: "bold yellow",
    Outcome.NOT_RUN: "bold yellow",
}


class Progress:
    """A progress bar, removed when the run ends."""

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("cases", total=None)
        self._failed = 0

    def total(self, cases: int) -> None:
        """Set the number of cases."""
        self._bar.update(self._task, total=cases)

    def done(self, result: CaseResult) -> None:
        """Count one more finished case."""
        self._failed += result.status is not CaseStatus.PASSED
        description = f"cases, {self._failed} not passed" if self._failed else "cases"
        self._bar.update(self._task, advance=1, description=description)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()


def show(run: RunResult, console: Console) -> None:
    """Print every case that did not pass, each failure with the clause that demands it, and then the verdicts."""
    if run.error:  # no case ran, all for the same reason
        console.print(Text(visible_lines(run.error)))
    else:
        for result in not_passed(run):
            _show_case(result, console)
    overall = run.outcome
    counts = ", ".join(f"{count} {status}" for status, count in status_counts(run).items())
    console.print(Text.assemble((overall, _STYLES[overall]), f"  {counts or 'no case ran'}, in {run.seconds:.1f} s"))
    for profile, verdict in run.verdicts.items():
        console.print(Text.assemble(f"  {profile:18}", (verdict_text(verdict), _STYLES[verdict.outcome])))
    for name, address in run.targets.items():
        console.print(Text(f"  {name:18}{visible_lines(address)}", style="dim"))
    if run.not_applicable:
        words = f"  {run.not_applicable} cases about gRPC alone are not applicable over HTTP"
        console.print(Text(words, style="dim"))
    if left_out := run.left_out + len(run.cut):
        console.print(Text(f"  {left_out} cases were excluded: nothing is known about them", style="dim"))


def _show_case(result: CaseResult, console: Console) -> None:
    console.print(Text.assemble(("✗ ", "red"), (result.case.id, "bold"), f"  {result.status}"))
    _show_lines(console, result.case.title.en, result.case.title.fa)
    for name in result.clauses:
        failures, clause = result.failures_of(name), case_loader.clauses()[name]
        if failures or result.passes_clause(name) is False:
            _show_lines(console, f"{name}: {clause.en}", clause.fa)
        for failure in failures:
            console.print(Padding(Text(f"step {failure.step}"), (0, 0, 0, 2), expand=False))
            called, request = sent_texts(result.case, failure.step)
            lines = (("call", called), ("request", request), ("expected", failure.expected), ("actual", failure.actual))
            for word, text in lines:
                console.print(
                    Padding(Text.assemble((f"{word:10}", "dim"), visible_lines(text)), (0, 0, 0, 4), expand=False)
                )
    console.print()


def _show_lines(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False))
