"""The kit catches faults: each mutant of the reference fails the case named for it. A random sample runs here."""

import ast
import os
import random
from pathlib import Path

import pytest

from conformance import case_loader, fixtures
from tests.conformance.mutants.mutant import Mutant, load_mutants
from tests.conformance.mutants.run import run_mutant, run_unchanged

SEED = int(os.environ.get("MUTANT_SEED", "1404"))
SAMPLE_SIZE = 24
MUTANTS = load_mutants()
CASES = {case.id: case for case in case_loader.read()}
SAMPLE = random.Random(SEED).sample(MUTANTS, SAMPLE_SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fixtures")
    fixtures.write(made)
    return made


def test_mutants_are_unique() -> None:
    """There are enough mutants with unique ids and faults."""
    assert len({mutant.id for mutant in MUTANTS}) == len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS)
    assert len({mutant.source() for mutant in MUTANTS}) >= 80


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_mutant_applies(mutant: Mutant) -> None:
    """Every mutant applies to the reference, parses and names a case."""
    assert ast.parse(mutant.source())
    assert mutant.line() > 0
    assert mutant.case in CASES


def test_every_clause_has_a_mutant() -> None:
    """Every clause with a case has a mutant."""
    assert {case.clause for case in CASES.values()} == {CASES[mutant.case].clause for mutant in MUTANTS}


def test_reference_passes(folder: Path) -> None:
    """The reference passes the cases of the chosen mutants."""
    named = sorted({mutant.case for mutant in SAMPLE})

    assert run_unchanged([CASES[name] for name in named], folder).conforms


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.id)
def test_mutant_is_caught(mutant: Mutant, folder: Path) -> None:
    """The mutant's case fails because of its fault."""
    outcome = run_mutant(mutant, CASES, folder)

    assert outcome.failed, mutant.fault
    assert outcome.ran, "the faulty line has not run"
    assert outcome.crashed == ""
