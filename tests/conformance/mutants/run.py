"""Runs a mutant against its case and decides whether the case caught the fault."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance import clock_stages, runner
from conformance.case import Case, Instance
from conformance.results import CaseStatus, Failure, RunResult
from conformance.target import Target
from tests.conformance.mutants.build import build_reference
from tests.conformance.mutants.mutant import Mutant
from tests.conformance.mutants.serve import needed_instances, reset_steering, serve_reference
from tools.commands.conformance import ministry_address


@dataclass(frozen=True)
class Outcome:
    """The result of one mutant."""

    mutant: Mutant
    failed: bool
    ran: bool
    crashed: str
    """Unexpected exceptions of the mutant, if any: then the case did not catch the intended fault."""
    failures: tuple[Failure, ...]
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the case failed because of the intended fault."""
        return self.failed and self.ran and not self.crashed


def run_mutant(mutant: Mutant, cases: Mapping[str, Case], folder: Path) -> Outcome:
    """Run *mutant* against its case, on the fixtures in *folder*."""
    start = time.monotonic()
    case = cases[mutant.case]
    reset_steering(folder)
    with build_reference(mutant) as reference:
        with serve_reference(reference, folder, needed_instances([case])) as addresses:
            result = run_kit([case], addresses, folder)
        errors = reference.module("pipeline").unexpected_errors
    failed = result.with_status(CaseStatus.FAILED)
    return Outcome(
        mutant,
        failed=bool(failed),
        ran=reference.watch is not None and reference.watch.ran,
        crashed=result.error or "; ".join(sorted({repr(error) for error in errors})),
        failures=tuple(failure for case_result in failed for failure in case_result.failures),
        seconds=time.monotonic() - start,
    )


def run_unchanged(cases: list[Case], folder: Path) -> RunResult:
    """Run *cases* against the unchanged reference."""
    reset_steering(folder)
    with build_reference(None) as reference, serve_reference(reference, folder, needed_instances(cases)) as addresses:
        return run_kit(cases, addresses, folder)


@contextlib.contextmanager
def without_waits() -> Iterator[None]:
    """Run the kit without its waits for steering files, which the reference reads at each call."""
    waits = clock_stages.READ_SECONDS, runner.FOLLOW_SECONDS
    clock_stages.READ_SECONDS = runner.FOLLOW_SECONDS = 0.0
    try:
        yield
    finally:
        clock_stages.READ_SECONDS, runner.FOLLOW_SECONDS = waits


def run_kit(
    cases: Sequence[Case],
    addresses: Mapping[str, str],
    folder: Path,
    *,
    progress: runner.Progress = lambda _result: None,
) -> RunResult:
    """Run *cases* against the instances at *addresses*."""
    instances = {Instance(name): address for name, address in addresses.items()}
    with without_waits():
        target = Target(instances, folder / "pki", folder / "steering", ministry_address(folder))
        return runner.run(cases, target, progress=progress)
