"""The tutorials at the head of the readers' pages work as they are written, and print what the pages show."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from development import sandbox as suite
from development.files import CATALOGUE, SAMPLES
from development.processes import SERVICES, ServiceProcess, free_ports
from development.sandbox import Sandbox
from tests.support import tutorial

PORTS = {"50051": "promissory", "50052": "judiciary", "50053": "setad", "8443": "api"}
TIMEOUT_SECONDS = 250


@pytest.fixture(scope="module")
def suite_of_the_tutorials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, dict[str, str]]]:
    """What `estelam dev` starts, but for the monitor, on free ports; and the page's ports with these."""
    ports = free_ports(*SERVICES, "api")
    sandbox = suite.create_sandbox(tmp_path_factory.mktemp("tutorials"), ports=ports, catalogue=CATALOGUE)
    suite.load_samples(sandbox)
    suite.prepare_quality(sandbox)
    services = [ServiceProcess(name, sandbox).launch() for name in SERVICES]
    try:
        for service in services:
            service.wait()
        yield sandbox, {page: str(ports[name]) for page, name in PORTS.items()}
    finally:
        for service in reversed(services):
            service.stop()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["api", "bulk", "loading", "exchange", "onboarding"])
def test_tutorial(page: str, suite_of_the_tutorials: tuple[Sandbox, dict[str, str]], tmp_path: Path) -> None:
    """Every `sh` block succeeds in order in one shell, and prints the lines that the page shows below it."""
    sandbox, ports = suite_of_the_tutorials
    (tmp_path / ".estelam").symlink_to(sandbox.folder)
    (tmp_path / "samples").symlink_to(SAMPLES)
    (tmp_path / "catalogue").symlink_to(CATALOGUE)
    path = tutorial.DOCS / f"{page}.md"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESTELAM_")}
    environ = {**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    transcript = tutorial.run(
        path, folder=tmp_path, environ=environ, replacements=ports, timeout_seconds=TIMEOUT_SECONDS
    )

    assert transcript.status == 0, transcript.text
    for step, output in zip(tutorial.steps(path), transcript.outputs, strict=True):
        assert tutorial.missing_lines(step.expected, output) == [], f"{step.command}\nprinted:\n{output}"
