"""The kit catches: each mutant of the reference turns red the very case that is named for it; here, a few of them."""

import ast
import os
import random
from pathlib import Path

import pytest

from conformance import case_loader, fixtures
from tests.conformance.mutants.mutant import Mutant, mutants
from tests.conformance.mutants.run import sound, tried

SEED = int(os.environ.get("ZOO_SEED", "1404"))
FEW = 24
ZOO = mutants()
CASES = {case.id: case for case in case_loader.read()}
CHOSEN = random.Random(SEED).sample(ZOO, FEW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fixtures")
    fixtures.write(made)
    return made


def test_there_are_enough_mutants_each_with_a_name_and_a_fault_of_its_own() -> None:
    assert len({mutant.id for mutant in ZOO}) == len({mutant.fault for mutant in ZOO}) == len(ZOO)
    assert len({mutant.source() for mutant in ZOO}) >= 80


@pytest.mark.parametrize("mutant", ZOO, ids=lambda mutant: mutant.id)
def test_a_mutant_is_the_reference_with_one_text_replaced_and_names_a_case(mutant: Mutant) -> None:
    assert ast.parse(mutant.source())
    assert mutant.line() > 0
    assert mutant.case in CASES


def test_every_clause_that_has_a_case_has_a_mutant() -> None:
    assert {case.clause for case in CASES.values()} == {CASES[mutant.case].clause for mutant in ZOO}


def test_the_cases_pass_where_nothing_is_wrong(folder: Path) -> None:
    named = sorted({mutant.case for mutant in CHOSEN})

    assert sound([CASES[name] for name in named], folder).conforms


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.id)
def test_a_fault_turns_the_case_red_that_is_named_for_it(mutant: Mutant, folder: Path) -> None:
    outcome = tried(mutant, CASES, folder)

    assert outcome.red, mutant.fault
    assert outcome.ran, "the faulty line has not run"
    assert outcome.crashed == ""
