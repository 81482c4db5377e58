"""`make torture`: every trial in its short form, or one at length, each in one line of a table; exit 1 on any loss."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.chaos import failover, flood, fuzz, kill, overload, rolling_restart, simulation
from tools.chaos.scenario import Result, Scenario, Task

SCENARIOS: Sequence[Scenario] = (
    kill.TRIAL,
    kill.POSTGRESQL,
    failover.TRIAL,
    rolling_restart.TRIAL,
    overload.TRIAL,
    flood.PASSED_THROUGH,
    flood.TERMINATED,
    fuzz.TRIAL,
    simulation.TRIAL,
)
SHOWN = 20
"""So many losses are told in full."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main(
    name: Annotated[str, typer.Argument(metavar="[TRIAL]", help="One trial alone; else all of them.")] = "",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of that one trial; else its short form.")] = None,
    seed: Annotated[int, typer.Option(help="What moments and questions are drawn from.")] = 1,
) -> None:
    """Torture the product. Exit 0: nothing was lost; 1: something was."""
    chosen = [trial for trial in SCENARIOS if name in {"", trial.name}]
    if not chosen or (rounds and not name):
        err.print(f"name one of: {', '.join(trial.name for trial in SCENARIOS)}", style="red")
        raise typer.Exit(2)
    table = Table("trial", *("rounds", "checked", "losses", "seconds"), "what was seen", title=f"seed {seed}")
    losses: list[str] = []
    for trial in chosen:
        result, seconds = _run_scenario(trial, rounds or trial.short, seed)
        losses += [f"{trial.name}: {loss}" for loss in (*result.losses, *result.missed)]
        table.add_row(trial.name, *_figures(result, seconds), "; ".join(result.remarks) or trial.about)
    out.print(table)
    for loss in losses[:SHOWN]:
        out.print(loss, style="bold red", markup=False)
    raise typer.Exit(1 if losses else 0)


def _run_scenario(trial: Scenario, rounds: int, seed: int) -> tuple[Result, float]:
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="estelam-torture-") as folder,
        Progress(console=err, transient=True) as bar,
    ):
        told = bar.add_task(trial.name, total=rounds)
        result = trial.run(Task(Path(folder), rounds, seed, lambda done: bar.advance(told, done)))
    return result, time.monotonic() - started


def _figures(result: Result, seconds: float) -> tuple[str, str, str, str]:
    return (
        f"{result.rounds:,}",
        f"{result.checked:,}",
        f"{len(result.losses) + len(result.missed):,}",
        f"{seconds:,.0f}",
    )


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
