"""Show every mutant, or those named, the case that must catch it, and whether it did; exit 1 if one got away."""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conformance import case_loader, fixtures
from tests.conformance.mutants.mutant import mutants
from tests.conformance.mutants.run import Outcome, sound, tried


def main() -> int:
    """The whole zoo, after the reference itself has passed every case that is named."""
    arguments = argparse.ArgumentParser(prog="python -m tests.conformance.mutants", description=__doc__)
    arguments.add_argument("id", nargs="*", help="mutants; all where none is named")
    arguments.add_argument("--seen", action="store_true", help="tell what the case complained about")
    chosen = arguments.parse_args()
    if unknown := set(chosen.id) - {mutant.id for mutant in mutants()}:
        arguments.error(f"there is no mutant {min(unknown)}")
    logging.disable()  # a mutant's stack trace is no news
    console = Console(highlight=False, soft_wrap=True)
    zoo = [mutant for mutant in mutants() if not chosen.id or mutant.id in chosen.id]
    cases = {case.id: case for case in case_loader.read()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixtures.write(folder)
        verdict = sound([cases[case] for case in sorted({mutant.case for mutant in zoo})], folder)
        if not verdict.conforms:
            for result in verdict.results:
                for complaint in result.complaints:
                    console.print(f"the reference itself fails {result.case.id}: {complaint}")
            return 1
        outcomes = []
        console.print(f"{'':8} {'the reference with this fault':38}    the case that must fail")
        for mutant in zoo:
            outcomes.append(outcome := tried(mutant, cases, folder))
            console.print(_line(outcome))
            if chosen.seen:
                console.print(*outcome.complaints, sep="\n", style="dim")
    _summary(console, outcomes)
    return 0 if all(outcome.caught for outcome in outcomes) else 1


def _line(outcome: Outcome) -> str:
    word = "caught" if outcome.caught else "GOT AWAY"
    return f"{word:8} {outcome.mutant.id:38} by {outcome.mutant.case:50} {outcome.seconds:4.1f} s"


def _summary(console: Console, outcomes: list[Outcome]) -> None:
    lost = [outcome for outcome in outcomes if not outcome.caught]
    if lost:
        table = Table("mutant", "its fault", "the case", "turned red", "the line ran", "crashed")
        for outcome in lost:
            said = ["yes" if found else "NO" for found in (outcome.red, outcome.ran)]
            table.add_row(outcome.mutant.id, outcome.mutant.fault, outcome.mutant.case, *said, outcome.crashed)
        console.print(table)
    console.print(f"{len(outcomes) - len(lost)} of {len(outcomes)} mutants caught by the case named for each")


if __name__ == "__main__":
    sys.exit(main())
