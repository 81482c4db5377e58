"""An implementation in another language, from the documents alone, on grpc-js, passes every case."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import case_loader, fixtures, runner
from conformance.case import Instance
from conformance.profile import Profile
from conformance.results import CaseStatus, Outcome
from conformance.target import Target
from estelam.data_model import contract_files
from tests.conformance.mutants.run import without_waits
from tools.commands.conformance import ministry_address

EXAMPLE = Path(__file__).parents[2] / "examples" / "typescript-reference"
MADE = ("node_modules", "dist")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="Node.js and npm are not installed"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled implementation."""
    folder = tmp_path_factory.mktemp("typescript") / "reference"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(*MADE))
    installed = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"npm can't install its dependencies: {installed.stderr[-300:]}")
    subprocess.run(["npm", "run", "build"], cwd=folder, check=True, capture_output=True)
    return folder / "dist" / "main.js"


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported contract, with errors.json beside it."""
    folder = tmp_path_factory.mktemp("contract")
    contract_files.write(folder, protoset=True)
    return folder / contract_files.PROTOSET


@pytest.fixture
def target(program: Path, contract: Path, tmp_path: Path) -> Iterator[Target]:
    """The running implementation."""
    fixtures.write(tmp_path)
    words = ["node", str(program), str(contract), str(tmp_path), ministry_address(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip().partition("=") for _ in Instance]
        addresses = {Instance(role): address for role, _, address in lines}
        yield Target(addresses, tmp_path / "pki", tmp_path / "steering", ministry_address(tmp_path))
        process.terminate()


@pytest.mark.timeout(300)
def test_conforms(target: Target) -> None:
    """It passes every case of every profile."""
    with without_waits():
        result = runner.run(case_loader.read(), target)

    failures = [(each.case.id, each.failures) for each in result.results if each.status is not CaseStatus.PASSED]
    assert ("", []) == (result.error, failures)
    assert dict.fromkeys(Profile, Outcome.CONFORMS) == {
        profile: verdict.outcome for profile, verdict in result.verdicts.items()
    }
