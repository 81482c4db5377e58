"""Run the mutants against the kit; print a table by kind, and each survivor; exit 1 if more survive than may.

A mutant by hand must be caught by the case named for it, a generated one by any case.
"""

import argparse
import logging
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from conformance import fixtures
from tests.conformance.mutants.campaign import HAND_WRITTEN, AnyMutant, MutantResult, State, all_mutants, run_mutants
from tests.conformance.mutants.generated import survivors

STATE = Path("build") / "mutants.jsonl"
SHARE = 0.98
"""The share of effective mutants that must be caught."""


def main() -> int:
    """Run the chosen mutants."""
    arguments = argparse.ArgumentParser(prog="python -m tests.conformance.mutants", description=__doc__)
    arguments.add_argument("id", nargs="*", help="mutants; default: all")
    arguments.add_argument("--kind", action="append", default=[], help="only this kind; may be given again")
    arguments.add_argument("--of", choices=("reference", "product"), help="only mutants of these programs")
    arguments.add_argument("--sample", type=int, metavar="N", help="only so many, chosen at random, by SEED")
    arguments.add_argument("--seed", type=int, default=1404)
    arguments.add_argument("--jobs", type=int, default=2, help="mutants that run at once")
    arguments.add_argument("--state", type=Path, default=STATE, help=f"the file of results; default: {STATE}")
    arguments.add_argument(
        "--again", action="store_true", help="also mutants whose result is in that file, and those listed as survivors"
    )
    arguments.add_argument("--failures", action="store_true", help="print why each was caught")
    chosen = arguments.parse_args()
    mutants = all_mutants()
    kinds = {mutant.kind for mutant in mutants}
    if unknown := set(chosen.id) - {mutant.id for mutant in mutants} | set(chosen.kind) - kinds:
        arguments.error(f"there is no {min(unknown)}; the kinds are {', '.join(sorted(kinds))}")
    mutants = [
        mutant
        for mutant in mutants
        if (not chosen.id or mutant.id in chosen.id)
        and (not chosen.kind or mutant.kind in chosen.kind)
        and chosen.of in {None, mutant.program}
    ]
    mutants = random.Random(chosen.seed).sample(mutants, min(chosen.sample or len(mutants), len(mutants)))
    logging.disable()  # stack traces of mutants are expected
    console = Console(highlight=False, soft_wrap=True)
    results = _run(mutants, console, chosen)
    return _summary(mutants, results, console)


def _run(mutants: Sequence[AnyMutant], console: Console, chosen: argparse.Namespace) -> dict[str, MutantResult]:
    state = State(chosen.state)
    known = {} if chosen.again else {mutant.id: state.result(mutant) for mutant in mutants}
    results = {name: result for name, result in known.items() if result}
    if not chosen.again:
        listed = {name for group in survivors() for name in group.mutants}
        results |= {mutant.id: MutantResult(caught=False) for mutant in mutants if mutant.id in listed}
    if results:
        console.print(f"{len(results)} of {len(mutants)} results are in {chosen.state}, or listed as survivors")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixtures.write(folder)
        waiting = [mutant for mutant in mutants if mutant.id not in results]
        for mutant, result in run_mutants(waiting, folder, jobs=chosen.jobs):
            results[mutant.id] = result
            state.add(mutant, result)
            console.print(f"{'caught' if result.caught else 'SURVIVED':8} {mutant.id:52} {result.by}", markup=False)
            if chosen.failures:
                console.print(f"         {mutant.fault}\n         {result.failure}", style="dim", markup=False)
    return results


def _summary(mutants: Sequence[AnyMutant], results: dict[str, MutantResult], console: Console) -> int:
    """Print the table and the survivors; return the exit code."""
    reasons = {name: group for group in survivors() for name in group.mutants}
    equivalent = {name for name, group in reasons.items() if not group.effective}
    table = Table("program", "kind", "mutants", "equivalent", "caught", "survived")
    counted = [mutant for mutant in mutants if mutant.id not in equivalent]
    for program, kind in sorted({(mutant.program, mutant.kind) for mutant in mutants}):
        every = [mutant for mutant in mutants if (mutant.program, mutant.kind) == (program, kind)]
        effective = [mutant for mutant in every if mutant in counted]
        caught = sum(results[mutant.id].caught for mutant in effective)
        numbers = len(every), len(every) - len(effective), caught, len(effective) - caught
        table.add_row(program, kind, *map(str, numbers))
    console.print(table)
    survived = [mutant for mutant in mutants if not results[mutant.id].caught]
    for mutant in survived:
        reason = reasons[mutant.id].reason if mutant.id in reasons else f"NO REASON GIVEN; {results[mutant.id].by}"
        console.print(f"survives: {mutant.id}: {mutant.fault}\n    {reason}", markup=False)
    stale = sorted(name for name in reasons if name in results and results[name].caught)
    for name in stale:
        console.print(f"caught, though survivors.yaml lists it: {name}")
    caught = sum(results[mutant.id].caught for mutant in counted)
    console.print(f"{caught} of {len(counted)} effective mutants caught ({caught / max(1, len(counted)):.1%})")
    missed_by_hand = [mutant for mutant in survived if mutant.kind == HAND_WRITTEN]
    return 0 if caught >= SHARE * len(counted) and not stale and not missed_by_hand else 1


if __name__ == "__main__":
    sys.exit(main())
