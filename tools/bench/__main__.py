"""Measure what the project promises, and print one table: `python -m bench`. Nothing is asserted."""

import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tools.bench import machine
from tools.bench.benchmarks import MEASUREMENTS
from tools.bench.config import FULL, QUICK
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric
from tools.bench.report import table

_PAGE = 140

Names = Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(MEASUREMENTS)}. Default: all.")]


def main(
    names: Names = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: the direction, not the figure.")] = False,
    seconds: Annotated[float | None, typer.Option(help="Measured seconds of each run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Pairs of runs; medians are printed.")] = None,
    notes: Annotated[int | None, typer.Option(help="Notes on record.")] = None,
    rows: Annotated[int | None, typer.Option(help="Cases on record, and in the file that is loaded.")] = None,
    calls: Annotated[int | None, typer.Option(help="Calls over which the growth of memory is taken.")] = None,
    ids: Annotated[int | None, typer.Option(help="Tracking ids that are swept.")] = None,
    entries: Annotated[int | None, typer.Option(help="Entries that the verified ledger holds at least.")] = None,
    inquiries: Annotated[int | None, typer.Option(help="Inquiries of the month that is reported.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where stores are put; default: the temporary folder.")] = None,
) -> None:
    """Print each figure beside its target."""
    chosen = names or list(MEASUREMENTS)
    if unknown := set(chosen) - set(MEASUREMENTS):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(MEASUREMENTS)}")
    given: dict[str, Any] = {
        "seconds": seconds,
        "rounds": rounds,
        "notes": notes,
        "rows": rows,
        "calls": calls,
        "entries": entries,
        "ids": ids,
        "inquiries": inquiries,
    }
    scale = replace(QUICK if quick else FULL, **{name: value for name, value in given.items() if value is not None})
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PAGE)
    figures: list[Metric] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="estelam-bench-", dir=folder) as name:
        with BenchEnvironment(Path(name), scale) as world:
            for measurement in chosen:
                with console.status(f"measuring: {measurement}"):
                    try:
                        figures.extend(MEASUREMENTS[measurement](world))
                    except Exception:  # noqa: BLE001 - hours of other figures are not to be lost with it
                        failed.append(measurement)
                        traceback.print_exc()
        facts = machine.describe(Path(name))
    if figures:
        console.print(table(figures))
    console.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n", highlight=False)
    if failed:
        console.print(f"Not measured, for the reasons above: {', '.join(failed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
