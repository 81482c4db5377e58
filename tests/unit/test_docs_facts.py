"""What the documentation names exists: packages, files and commands."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from development.cli import PORTS
from estelam.cli.root import root_command
from tests.support import tutorial

ROOT = tutorial.ROOT
DOCS = tutorial.DOCS
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# The changelog is about old names; the reference is generated, and has a test of its own.
PAGES_OF_COMMANDS = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "reference"]


@cache
def group(name: str) -> Any:
    """The command group *name* of `estelam`, or None."""
    root = root_command()
    return root.load(name) if name in root.groups else None


def unknown_words(line: str) -> list[str]:
    """Those words of the command *line* that name no command or option of `estelam`."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # part of a quoted string: its words still count
        words = line.split()
    name = words.pop(0)
    if name == "…" or name.startswith("-"):
        return []
    command = group(name)
    if command is None:
        return [name]
    while isinstance(command, TyperGroup) and words:
        word = words.pop(0)
        if word == "…" or word.startswith("-"):
            return []
        if word not in command.commands:
            return [word]
        command = command.commands[word]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]


# Names of other programs, and of files that an example makes.
FOREIGN = {
    "answers.csv.receipts.jsonl",
    "answers.csv.receipts.jsonl.of",
    "check.pl",
    "http.callers.downstream_rq_too_many_premature_resets",
    "loading.db",
    "report.json.sig",
}


@cache
def sources() -> str:
    """The paths and the text of everything that the documentation describes."""
    folders = ("services", "deploy", "rules", "catalogue", "protos", "tools", "samples", "tests")
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    suffixes = {".py", ".toml", ".yaml", ".ini", ".sql", ".proto", ".html", ".service"}
    named = [str(path.relative_to(ROOT)) for path in (*files, *ROOT.iterdir())]
    read = [path for path in files if path.suffix in suffixes and path.parts[len(ROOT.parts)] != "tests"]
    return "\n".join([*named, *(path.read_text("utf-8") for path in (*read, ROOT / "pyproject.toml"))])


@pytest.mark.parametrize("page", PAGES_OF_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_names(page: Path) -> None:
    """Every setting, log event, column, metric and file that a page names in backquotes exists in the code."""
    names = set(re.findall(r"`([a-z][a-z0-9]*(?:[._][a-z0-9]+)+)`", page.read_text("utf-8")))

    assert {name for name in names - FOREIGN if name not in sources()} == set()


def test_readme_length() -> None:
    """The README has 120 to 150 lines."""
    assert 120 <= len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


def test_ports() -> None:
    """The README names the variable and the default of every port of `make run`."""
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    ports = {**PORTS, "promissory": f"default {PORTS['promissory']}"}

    for name, port in ports.items():
        assert re.search(rf"PORT_{name.upper()}(=6051)?` \({port}\)", text), name


def test_module_map() -> None:
    """The architecture page lists every package."""
    page = (DOCS / "architecture.md").read_text("utf-8")
    packages = {
        path.parent.relative_to(ROOT)
        for folder in ("services", "tools", "tests")
        for path in (ROOT / folder).rglob("__init__.py")
        if not re.search(r"services/buf|/v\d+(/|$)|migrations/versions", path.parent.as_posix())
    }
    # Packages of tests mirror those that they test; the page lists them by their parent.
    named = {package for package in packages if package.parts[0] != "tests" or len(package.parts) <= 2}

    assert {str(package) for package in named if f"`{package}`" not in page} - {"tests", "tools"} == set()


@pytest.mark.parametrize("name", ["glossary.md", "architecture.md"])
def test_paths(name: str) -> None:
    """Every path in backquotes exists, from the repository's root or below services/."""
    text = (DOCS / name).read_text("utf-8")
    paths = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text))

    assert paths
    assert {path for path in paths if not any((base / path).exists() for base in (ROOT, ROOT / "services"))} == set()


@pytest.mark.parametrize("page", PAGES_OF_COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands(page: Path) -> None:
    """Every `estelam …` command in a page exists, and takes the options that the page gives it."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown = [
        found for block in blocks for found in re.findall(r"(?:^|/bin/|\$ )estelam ([^\n|&>;]*)", block, re.MULTILINE)
    ]
    inline = re.findall(r"`estelam (?!block v1)([^`\n]+)`", text)

    assert [f"estelam {line}: {words}" for line in (*shown, *inline) if (words := unknown_words(line))] == []
