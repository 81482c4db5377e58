"""A run on the terminal: how far it is, then what failed, then the verdict."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from conformance import case_loader
from conformance.reports.labels import Outcome, counted, outcome, shown
from conformance.results import Result, Standing, Verdict

_STYLES = {Outcome.CONFORMS: "bold green", Outcome.FAILS: "bold red", Outcome.NOT_RUN: "bold yellow"}


class Progress:
    """How far a run is; nothing stays of it."""

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
        """So many cases will be run."""
        self._bar.update(self._task, total=cases)

    def done(self, result: Result) -> None:
        """One more case is over."""
        self._failed += result.standing is not Standing.PASSED
        words = f"cases, {self._failed} not passed" if self._failed else "cases"
        self._bar.update(self._task, advance=1, description=words)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()


def show(verdict: Verdict, console: Console) -> None:
    """Print every case that did not pass, with the clause it is about, and then the verdict."""
    if verdict.trouble:  # one reason for all of them
        console.print(Text(shown(verdict.trouble)))
    else:
        for result in verdict.results:
            if result.standing is not Standing.PASSED:
                _show_case(result, console)
    word = outcome(verdict)
    counts = ", ".join(f"{count} {standing}" for standing, count in counted(verdict).items())
    console.print(Text.assemble((word, _STYLES[word]), f"  {counts or 'no case ran'}, in {verdict.seconds:.1f} s"))
    for name, address in verdict.targets.items():
        console.print(Text(f"  {name:18}{shown(address)}", style="dim"))
    if verdict.left_out:
        console.print(Text(f"  {verdict.left_out} cases were left out: nothing is said about them", style="dim"))


def _show_case(result: Result, console: Console) -> None:
    case, clause = result.case, case_loader.clauses()[result.case.clause]
    console.print(Text.assemble(("✗ ", "red"), (case.id, "bold"), f"  {result.standing}"))
    for line in (case.title.en, case.title.fa, f"{case.clause}: {clause.en}", clause.fa):
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2), expand=False))
    for complaint in result.complaints:
        console.print(Padding(Text(f"step {complaint.step}"), (0, 0, 0, 2), expand=False))
        for name, words in (("expected", complaint.expected), ("seen", complaint.seen)):
            console.print(Padding(Text.assemble((f"{name:10}", "dim"), shown(words)), (0, 0, 0, 4), expand=False))
    console.print()
