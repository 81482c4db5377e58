"""`make chaos`: run every scenario in its short form, or one at length; exit 1 on any loss."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.chaos import (
    churn,
    failover,
    files,
    flood,
    fuzz,
    greedy_caller,
    kill,
    overload,
    rolling_restart,
    signals,
    simulation,
)
from tools.chaos.scenario import Result, Scenario, Task

SCENARIOS: Sequence[Scenario] = (
    kill.SCENARIO,
    kill.POSTGRESQL,
    files.SCENARIO,
    failover.SCENARIO,
    rolling_restart.SCENARIO,
    signals.SCENARIO,
    signals.WORKERS,
    churn.SCENARIO,
    overload.SCENARIO,
    flood.PASSED_THROUGH,
    flood.TERMINATED,
    *greedy_caller.SCENARIOS,
    fuzz.SCENARIO,
    simulation.SCENARIO,
)
GROUPS: Mapping[str, Sequence[Scenario]] = {
    "attacks": (flood.PASSED_THROUGH, flood.TERMINATED, *greedy_caller.SCENARIOS, signals.SCENARIO, fuzz.SCENARIO),
}
"""Scenarios that one name runs: the attacks of a caller, or of any client that reaches a port."""
SHOWN = 20
"""The number of losses that are printed in full."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main(
    name: Annotated[str, typer.Argument(metavar="[SCENARIO]", help="One scenario alone, or `attacks`; else all.")] = "",
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of that one scenario; else its short form.")] = None,
    seed: Annotated[int, typer.Option(help="What moments and questions are drawn from.")] = 1,
) -> None:
    """Run chaos scenarios. Exit 0: no loss; 1: at least one loss."""
    chosen = GROUPS.get(name) or [scenario for scenario in SCENARIOS if name in {"", scenario.name}]
    if not chosen or (rounds and len(chosen) > 1):
        err.print(f"name one of: {', '.join((*GROUPS, *(scenario.name for scenario in SCENARIOS)))}", style="red")
        raise typer.Exit(2)
    table = Table("scenario", *("rounds", "checked", "losses", "seconds"), "what was seen", title=f"seed {seed}")
    losses: list[str] = []
    for scenario in chosen:
        result, seconds = _run_scenario(scenario, rounds or scenario.short, seed)
        losses += [f"{scenario.name}: {loss}" for loss in (*result.losses, *result.missed)]
        table.add_row(scenario.name, *_columns(result, seconds), "; ".join(result.remarks) or scenario.about)
    out.print(table)
    for loss in losses[:SHOWN]:
        out.print(loss, style="bold red", markup=False)
    raise typer.Exit(1 if losses else 0)


def _run_scenario(scenario: Scenario, rounds: int, seed: int) -> tuple[Result, float]:
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="estelam-chaos-") as folder,
        Progress(console=err, transient=True) as bar,
    ):
        progress = bar.add_task(scenario.name, total=rounds)
        result = scenario.run(Task(Path(folder), rounds, seed, lambda done: bar.advance(progress, done)))
    return result, time.monotonic() - started


def _columns(result: Result, seconds: float) -> tuple[str, str, str, str]:
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
