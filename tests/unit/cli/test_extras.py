"""Commands in an installation without the optional extras."""

import ast
import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from estelam.cli import extras

ROOT = Path(__file__).parents[3]
PYPROJECT = ROOT / "pyproject.toml"
# Python raises ModuleNotFoundError for a module whose place in sys.modules holds None.
WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(","), None))
"""


def without(modules: tuple[str, ...], code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run *code* in a new process in which *modules* can't be imported."""
    command = [sys.executable, "-c", WITHOUT + code, ",".join(modules), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def estelam(extra: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `estelam` with *arguments* in an installation without *extra*."""
    return without(extras.MODULES[extra], "from estelam.cli import main; main()", *arguments)


def test_missing_extra_json() -> None:
    """With --json, the same text is the error of one JSON object."""
    done = estelam("conformance", "conformance", "list", "--json")

    assert "this command needs more packages: pip install 'estelam[conformance]'" == json.loads(done.stdout)["error"]
    assert (done.returncode, done.stderr) == (21, "")


def test_conformance_without_extra() -> None:
    """A command of the conformance kit, without the extra, prints one line and exits 21; its help needs no extra."""
    done = estelam("conformance", "conformance", "fixtures", "anywhere")
    help_text = estelam("conformance", "conformance", "list", "--help")

    assert done.stderr == "this command needs more packages: pip install 'estelam[conformance]'\n"
    assert (done.returncode, done.stdout) == (21, "")
    assert help_text.returncode == 0
    assert "--only" in help_text.stdout


@pytest.mark.slow
def test_services_without_extras() -> None:
    """Every service and every command group can be imported in an installation without extras."""
    blocked = tuple(module for modules in extras.MODULES.values() for module in modules)
    services = ("promissory", "judiciary", "sataad_adapter", "quality")
    commands = [
        f"estelam.cli.commands.{path.stem}" for path in (ROOT / "services/estelam/cli/commands").glob("[a-z]*.py")
    ]
    modules = [*(f"{name}.{module}" for name in services for module in ("service", "cli", "commands")), *commands]

    done = without(blocked, f"import {', '.join(modules)}")

    assert (done.returncode, done.stderr) == (0, "")


def test_extras_list_modules() -> None:
    """The modules of an extra are those that its distributions install and that the services import."""
    imported = {name for path in (ROOT / "services").rglob("*.py") for name in _imports(path)}
    declared = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    found = packages_distributions()

    for extra, modules in extras.MODULES.items():
        distributions = {requirement.partition(">")[0] for requirement in declared[extra]}
        assert {name for name in imported if distributions & set(found.get(name, ()))} == set(modules)


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names
