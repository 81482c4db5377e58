"""Fairness: an implementation written apart from ours, on another gRPC stack, passes the kit whole."""

import ast
from pathlib import Path

import pytest

from conformance import case_loader, fixtures
from conformance.case import Instance
from tests.conformance.mutants.build import bred
from tests.conformance.mutants.mutant import REFERENCE
from tests.conformance.mutants.run import examined
from tests.conformance.mutants.serve import kept, set_back

SHARED = {"core.errors", "inquiry.v1", "judiciary.v1", "promissory.v1", "setad.v1"}
"""The generated messages, and the table of reasons."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fixtures")
    fixtures.write(made)
    return made


def test_the_reference_passes_the_kit_whole_and_meets_no_fault_of_its_own(folder: Path) -> None:
    set_back(folder)
    with bred(None) as reference, kept(reference, folder, [instance.value for instance in Instance]) as addresses:
        verdict = examined(case_loader.read(), addresses, folder)
        faults = reference.module("office").faults

    assert verdict.trouble == ""
    assert [(result.case.id, result.complaints) for result in verdict.results if result.complaints] == []
    assert verdict.conforms
    assert faults == []


def test_the_reference_shares_with_our_services_only_what_the_contract_gives() -> None:
    imported = {
        str(node.module)
        for path in REFERENCE.glob("*.py")
        if path.stem != "__main__"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    ours = {name.removeprefix("estelam.") for name in imported if name.startswith("estelam.")}

    assert ours <= SHARED
    assert not {name for name in imported if name.partition(".")[0] in ("promissory", "judiciary", "sataad_adapter")}
