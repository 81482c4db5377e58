"""An independent implementation on another gRPC stack passes every case, so the kit is fair."""

import ast
from pathlib import Path

import pytest

from conformance import case_loader, fixtures
from conformance.case import Instance
from tests.conformance.mutants.build import build_reference
from tests.conformance.mutants.mutant import REFERENCE
from tests.conformance.mutants.run import run_kit
from tests.conformance.mutants.serve import reset_steering, serve_reference

SHARED = {"core.errors", "core.rule_texts", "inquiry.v1", "judiciary.v1", "promissory.v1", "setad.v1"}
"""The generated messages, and the tables of reasons and rules."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fixtures")
    fixtures.write(made)
    return made


@pytest.mark.slow
def test_reference_conforms(folder: Path) -> None:
    """The reference passes every case without an unexpected exception."""
    reset_steering(folder)
    with (
        build_reference(None) as reference,
        serve_reference(reference, folder, [instance.value for instance in Instance]) as addresses,
    ):
        result = run_kit(case_loader.read(), addresses, folder)
        errors = reference.module("pipeline").unexpected_errors

    assert result.error == ""
    assert [(case_result.case.id, case_result.failures) for case_result in result.results if case_result.failures] == []
    assert result.conforms
    assert errors == []


def test_reference_is_independent() -> None:
    """The reference imports only the contract and the error catalogue from our code."""
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
