"""The scenario of `make demo` runs as it is described."""

import pytest
from rich.console import Console

from tools.commands.demo import run_story


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_step_has_its_expected_outcome() -> None:
    """Each command of the scenario, run on real services, ends as the scenario states."""
    console = Console(record=True, width=200)

    assert run_story(console) == 0, console.export_text()
