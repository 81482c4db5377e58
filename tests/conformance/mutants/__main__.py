"""Run every mutant, or those named, against the case that must catch it; exit 1 if one was not caught."""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conformance import case_loader, fixtures
from tests.conformance.mutants.mutant import load_mutants
from tests.conformance.mutants.run import Outcome, run_mutant, run_unchanged


def main() -> int:
    """Run the mutants, after the unchanged reference has passed their cases."""
    arguments = argparse.ArgumentParser(prog="python -m tests.conformance.mutants", description=__doc__)
    arguments.add_argument("id", nargs="*", help="mutants; default: all")
    arguments.add_argument("--failures", action="store_true", help="print the failures of each case")
    chosen = arguments.parse_args()
    if unknown := set(chosen.id) - {mutant.id for mutant in load_mutants()}:
        arguments.error(f"there is no mutant {min(unknown)}")
    logging.disable()  # stack traces of mutants are expected
    console = Console(highlight=False, soft_wrap=True)
    chosen_mutants = [mutant for mutant in load_mutants() if not chosen.id or mutant.id in chosen.id]
    cases = {case.id: case for case in case_loader.read()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixtures.write(folder)
        verdict = run_unchanged([cases[case] for case in sorted({mutant.case for mutant in chosen_mutants})], folder)
        if not verdict.conforms:
            for result in verdict.results:
                for failure in result.failures:
                    console.print(f"the unchanged reference fails {result.case.id}: {failure}")
            return 1
        outcomes = []
        console.print(f"{'':8} {'the reference with this fault':38}    the case that must fail")
        for mutant in chosen_mutants:
            outcomes.append(outcome := run_mutant(mutant, cases, folder))
            console.print(_line(outcome))
            if chosen.failures:
                console.print(*outcome.failures, sep="\n", style="dim")
    _summary(console, outcomes)
    return 0 if all(outcome.caught for outcome in outcomes) else 1


def _line(outcome: Outcome) -> str:
    status = "caught" if outcome.caught else "MISSED"
    return f"{status:8} {outcome.mutant.id:38} by {outcome.mutant.case:50} {outcome.seconds:4.1f} s"


def _summary(console: Console, outcomes: list[Outcome]) -> None:
    missed = [outcome for outcome in outcomes if not outcome.caught]
    if missed:
        table = Table("mutant", "fault", "case", "case failed", "line ran", "crashed")
        for outcome in missed:
            flags = ["yes" if flag else "NO" for flag in (outcome.failed, outcome.ran)]
            table.add_row(outcome.mutant.id, outcome.mutant.fault, outcome.mutant.case, *flags, outcome.crashed)
        console.print(table)
    console.print(f"{len(outcomes) - len(missed)} of {len(outcomes)} mutants caught by the case named for each")


if __name__ == "__main__":
    sys.exit(main())
