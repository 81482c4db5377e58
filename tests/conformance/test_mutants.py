"""The kit catches faults: those by hand fail the case named for each, generated ones any case. A sample runs here."""

import ast
import os
import random
from pathlib import Path

import pytest

from conformance import case_loader, fixtures
from tests.conformance.mutants.campaign import of_reference
from tests.conformance.mutants.generated import survivors
from tests.conformance.mutants.kinds import KINDS
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


def test_mutants_are_generated() -> None:
    """Hundreds of mutants of every kind are generated, each with an id and a text of its own."""
    generated = of_reference()

    assert (
        len({mutant.id for mutant in generated}) == len({mutant.text for mutant in generated}) == len(generated) >= 400
    )
    assert {*KINDS, "cache"} == {mutant.kind for mutant in generated}


def test_survivors_are_of_today() -> None:
    """Every survivor that is listed is a generated mutant with that very fault."""
    faults = {mutant.id: mutant.fault for mutant in of_reference()}

    assert [] == [
        (name, fault) for group in survivors() for name, fault in group.mutants.items() if faults.get(name) != fault
    ]


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
