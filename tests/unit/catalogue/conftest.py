"""Fixtures of the catalogue tests: an editable copy of the committed catalogue."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from development.sandbox import Sandbox
from tests.e2e.conftest import CommandLine

COMMITTED = Path(__file__).resolve().parents[3] / "catalogue"

Edit = Callable[..., None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the committed catalogue."""
    return Path(shutil.copytree(COMMITTED, tmp_path / "catalogue"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Return a function that replaces the first occurrence of a text in a file of the copy."""

    def replace(file: str, old: str, new: str) -> None:
        text = (folder / file).read_text("utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), "utf-8")

    return replace


@pytest.fixture(scope="session")
def estelam(shared: Sandbox) -> CommandLine:
    """The command line of a sandbox without running services."""
    return CommandLine(shared)
