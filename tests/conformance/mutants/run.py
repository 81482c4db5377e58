"""A mutant before its case: whether the case turned red, for a fault that was really met."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance import clock_stages, runner
from conformance.case import Case, Instance
from conformance.results import Complaint, Standing, Verdict
from conformance.target import Target
from tests.conformance.mutants.build import bred
from tests.conformance.mutants.mutant import Mutant
from tests.conformance.mutants.serve import kept, needed, set_back


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant."""

    mutant: Mutant
    red: bool
    ran: bool
    crashed: str
    """The unforeseen fault of the mutant's own code, if any: then it was not its fault that was caught."""
    complaints: tuple[Complaint, ...]
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the kit has proven that it catches this fault."""
        return self.red and self.ran and not self.crashed


def tried(mutant: Mutant, cases: Mapping[str, Case], folder: Path) -> Outcome:
    """Put *mutant* before its case, on the fixtures in *folder*."""
    began = time.monotonic()
    case = cases[mutant.case]
    set_back(folder)
    with bred(mutant) as reference:
        with kept(reference, folder, needed([case])) as addresses:
            verdict = examined([case], addresses, folder)
        faults = reference.module("office").faults
    failed = verdict.having(Standing.FAILED)
    return Outcome(
        mutant,
        red=bool(failed),
        ran=reference.watch is not None and reference.watch.ran,
        crashed=verdict.trouble or "; ".join(sorted({repr(fault) for fault in faults})),
        complaints=tuple(complaint for result in failed for complaint in result.complaints),
        seconds=time.monotonic() - began,
    )


def sound(cases: list[Case], folder: Path) -> Verdict:
    """What the kit says of the reference as it is."""
    set_back(folder)
    with bred(None) as reference, kept(reference, folder, needed(cases)) as addresses:
        return examined(cases, addresses, folder)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """The kit without its waits for a target to read its steering: the reference reads it at each call."""
    waits = clock_stages.READ_SECONDS, runner.BAR_SECONDS
    clock_stages.READ_SECONDS = runner.BAR_SECONDS = 0.0
    try:
        yield
    finally:
        clock_stages.READ_SECONDS, runner.BAR_SECONDS = waits


def examined(cases: list[Case], addresses: Mapping[str, str], folder: Path) -> Verdict:
    """What the kit says of whoever is at *addresses*."""
    at = {Instance(name): address for name, address in addresses.items()}
    with hurried():
        return runner.run(cases, Target(at, folder / "pki", folder / "steering"))
