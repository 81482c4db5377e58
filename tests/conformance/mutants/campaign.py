"""Runs mutants: one by hand against its case, a generated one against all, likely killers first, until one fails."""

import ast
import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from conformance import case_loader
from conformance.case import Case
from conformance.results import CaseResult, CaseStatus
from tests.conformance.mutants.build import build_reference
from tests.conformance.mutants.forked import run_forked
from tests.conformance.mutants.generated import GeneratedMutant, functions, of_module
from tests.conformance.mutants.mutant import REFERENCE, Mutant, load_mutants
from tests.conformance.mutants.run import run_kit, run_mutant
from tests.conformance.mutants.serve import needed_instances, reset_steering, serve_reference

LIMIT_SECONDS = 150.0
# What sets up an instance for the kit is no part of an implementation.
_SETUP = (
    "service.running",
    "service._recording",
    "service._setad",
    "service._Listener",
    "service.Instance.st",
    "data.",
)
_FIRST = 40
"""Number of likely killers, which run first and alone."""


HAND_WRITTEN = Mutant.kind
AnyMutant = Mutant | GeneratedMutant


@dataclass(frozen=True)
class MutantResult:
    """The result of one mutant."""

    caught: bool
    by: str = ""
    """The case that failed, or why none could run."""
    failure: str = ""


class _CaseFailedError(Exception):
    def __init__(self, result: CaseResult) -> None:
        super().__init__(result.case.id)
        self.result = result


def of_reference() -> list[GeneratedMutant]:
    """Return the generated mutants of the reference."""
    modules = [path for path in sorted(REFERENCE.glob("*.py")) if not path.stem.startswith("__")]
    return [mutant for path in modules for mutant in of_module(path) if not mutant.id.startswith(_SETUP)]


def all_mutants() -> list[AnyMutant]:
    """Return every mutant, written by hand or generated."""
    return [*load_mutants(), *of_reference()]


class State:
    """The results of earlier runs in a file.

    That a mutant was caught holds until its text changes, since a kit that grows catches no less; that it survived
    holds for the same kit.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        self._known = {key: MutantResult(**result) for key, result in map(json.loads, lines)}

    def result(self, mutant: AnyMutant) -> MutantResult | None:
        """Return the known result of *mutant*."""
        return self._known.get(_key(mutant, caught=True)) or self._known.get(_key(mutant, caught=False))

    def add(self, mutant: AnyMutant, result: MutantResult) -> None:
        """Add the result of *mutant*."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([_key(mutant, caught=result.caught), asdict(result)]) + "\n")


def _key(mutant: AnyMutant, *, caught: bool) -> str:
    named = mutant.case if isinstance(mutant, Mutant) else ""
    text = f"{mutant.source()}{named}{'' if caught else kit_hash()}"
    return f"{mutant.program}.{mutant.module} {sha256(text.encode()).hexdigest()}"


@cache
def kit_hash() -> str:
    """Return a hash of the kit, with its cases and fixtures."""
    kit = Path(case_loader.__file__).parent
    files = sorted(path for path in kit.rglob("*") if path.suffix in {".py", ".yaml", ".csv"})
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def run_mutants(mutants: Sequence[AnyMutant], folder: Path, *, jobs: int) -> Iterator[tuple[AnyMutant, MutantResult]]:
    """Run *mutants* on copies of the fixtures in *folder* and yield each result."""
    by_id = {mutant.id: mutant for mutant in mutants}
    works = [(mutant.id, partial(_run, mutant, folder)) for mutant in mutants]
    for name, found in run_forked(works, jobs, LIMIT_SECONDS):
        is_by_hand = isinstance(by_id[name], Mutant)
        hung = {"caught": not is_by_hand, "by": f"no result within {LIMIT_SECONDS:.0f} s"}
        yield by_id[name], MutantResult(**(found or hung))


def _run(mutant: AnyMutant, fixtures: Path, folder: Path) -> dict[str, Any]:
    logging.disable()
    shutil.copytree(fixtures, folder, dirs_exist_ok=True)
    _silence()
    return asdict(_run_by_hand(mutant, folder) if isinstance(mutant, Mutant) else _run_generated(mutant, folder))


def _run_by_hand(mutant: Mutant, folder: Path) -> MutantResult:
    """Run a mutant against the case named for it."""
    outcome = run_mutant(mutant, {case.id: case for case in case_loader.read()}, folder)
    failure = "; ".join(f"{each.expected} | {each.actual}" for each in outcome.failures)
    why = "" if outcome.failed else "passes"
    why = outcome.crashed or why or ("" if outcome.ran else "fails, but the faulty line has not run")
    return MutantResult(caught=outcome.caught, by=f"{mutant.case} {why}".strip(), failure=failure)


def _run_generated(mutant: GeneratedMutant, folder: Path) -> MutantResult:
    """Run a mutant against all cases, until one fails."""
    for cases in order(mutant):
        reset_steering(folder)
        try:
            with (
                build_reference(mutant) as reference,
                serve_reference(reference, folder, needed_instances(cases)) as addresses,
            ):
                error = run_until_failure(cases, addresses, folder)
        except _CaseFailedError as failed:
            failure = failed.result.failures[0]
            return MutantResult(caught=True, by=failed.result.case.id, failure=f"{failure.expected} | {failure.actual}")
        except Exception as exception:  # noqa: BLE001 - a server that does not start answers nothing
            return MutantResult(caught=True, by="it does not start", failure=repr(exception)[:200])
        if error:
            return MutantResult(caught=True, by="no case can run", failure=error)
    return MutantResult(caught=False)


def run_until_failure(cases: Sequence[Case], addresses: Mapping[str, str], folder: Path) -> str:
    """Run *cases* until one fails; return why none could run, or an empty text.

    Raises:
        _CaseFailedError: the first case that failed.
    """

    def progress(result: CaseResult) -> None:
        if result.status is not CaseStatus.PASSED:
            raise _CaseFailedError(result)

    return run_kit(cases, addresses, folder, progress=progress).error


def order(mutant: GeneratedMutant) -> tuple[list[Case], list[Case]]:
    """Return the cases that are likely to fail for *mutant*, and all others.

    Likely are those that hand-written mutants of the same function or module name, and some of each file.
    """
    cases = case_loader.read()
    named = _named_cases()
    likely = [*named.get(f"{mutant.module}.{mutant.function}", ()), *named.get(mutant.module, ())]
    likely += [case.id for case in cases[:: max(1, len(cases) // _FIRST)]]
    chosen = set(list(dict.fromkeys(likely))[:_FIRST])
    return [case for case in cases if case.id in chosen], [case for case in cases if case.id not in chosen]


@cache
def _named_cases() -> Mapping[str, Sequence[str]]:
    """The cases that hand-written mutants name, by module and by module.function."""
    found: dict[str, list[str]] = {}
    for mutant in load_mutants():
        line = mutant.line()
        for function, node in functions(ast.parse((REFERENCE / f"{mutant.module}.py").read_text("utf-8"))):
            if node.lineno <= line <= (node.end_lineno or 0):
                found.setdefault(f"{mutant.module}.{function}", []).append(mutant.case)
        found.setdefault(mutant.module, []).append(mutant.case)
    return found


def _silence() -> None:
    """Discard what mutants print, and the tracebacks of their threads."""
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    threading.excepthook = lambda _arguments: None
