"""`python -m tools.bench`: run the benchmarks and print one table of metrics. Nothing is asserted."""

import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tools.bench import machine
from tools.bench.benchmarks import BENCHMARKS
from tools.bench.config import FULL, QUICK
from tools.bench.environment import BenchEnvironment
from tools.bench.metric import Metric
from tools.bench.report import table

_PAGE = 140

Names = Annotated[list[str] | None, typer.Argument(help=f"Some of: {', '.join(BENCHMARKS)}. Default: all.")]


def main(
    names: Names = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small and short: shows the direction, not publishable values.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(help="Measured seconds of each run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Pairs of runs; medians are printed.")] = None,
    notes: Annotated[int | None, typer.Option(help="Notes in the store.")] = None,
    rows: Annotated[int | None, typer.Option(help="Cases in the store, and in the file that is loaded.")] = None,
    calls: Annotated[int | None, typer.Option(help="Calls over which memory growth is measured.")] = None,
    ids: Annotated[int | None, typer.Option(help="Tracking ids in the bulk check.")] = None,
    entries: Annotated[int | None, typer.Option(help="Minimum number of entries of the verified ledger.")] = None,
    ledger: Annotated[int | None, typer.Option(help="Entries of the long ledger.")] = None,
    inquiries: Annotated[int | None, typer.Option(help="Inquiries of the reported month.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder of the stores; default: the temporary folder.")] = None,
) -> None:
    """Run benchmarks and print each metric with its target."""
    chosen = names or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(BENCHMARKS)}")
    given: dict[str, Any] = {
        "seconds": seconds,
        "rounds": rounds,
        "notes": notes,
        "rows": rows,
        "calls": calls,
        "entries": entries,
        "ledger": ledger,
        "ids": ids,
        "inquiries": inquiries,
    }
    scale = replace(QUICK if quick else FULL, **{name: value for name, value in given.items() if value is not None})
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PAGE)
    metrics: list[Metric] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="estelam-bench-", dir=folder) as name:
        with BenchEnvironment(Path(name), scale) as environment:
            for benchmark in chosen:
                with console.status(f"running: {benchmark}"):
                    try:
                        metrics.extend(BENCHMARKS[benchmark](environment))
                    except Exception:  # noqa: BLE001 - one failed benchmark must not discard hours of others
                        failed.append(benchmark)
                        traceback.print_exc()
        facts = machine.describe(Path(name))
    if metrics:
        console.print(table(metrics))
    console.print(*(f"{fact}: {value}" for fact, value in facts.items()), sep="\n", highlight=False)
    if failed:
        console.print(f"Failed, for the reasons above: {', '.join(failed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
