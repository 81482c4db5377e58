"""The root command: lazy groups, help, version, completion and wrong command lines."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from estelam.cli.root import OWN_GROUPS, root_command

HEAVY = {"cryptography", "google.protobuf", "grpc", "rich.table", "sqlalchemy", "yaml"}


def estelam(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "estelam", *arguments]
    inherited = {**os.environ, **(environ or {})}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=inherited)


def complete(*words: str) -> list[str]:
    """Return what the shell offers for the last of *words*."""
    environ = {"_ESTELAM_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return estelam(environ=environ).stdout.split()


@pytest.mark.parametrize("arguments", [(), ("ledger",), ("ledger", "verify"), ("quality", "outage", "list")])
def test_short_help(arguments: tuple[str, ...]) -> None:
    """-h prints what --help prints, at every level."""
    short, long = estelam(*arguments, "-h"), estelam(*arguments, "--help")

    assert (0, long.stdout) == (short.returncode, short.stdout)


def test_version() -> None:
    """--version prints the installed version."""
    assert f"estelam {version('estelam')}\n" == estelam("--version").stdout


@pytest.mark.parametrize("environ", [{}, {"_ESTELAM_COMPLETE": "complete_bash", "COMP_WORDS": "e ", "COMP_CWORD": "1"}])
def test_help_imports_little(environ: dict[str, str]) -> None:
    """The help and the completion of group names import no group and none of the slow libraries."""
    script = f"""if True:
        import atexit, sys
        atexit.register(lambda: print(*{HEAVY} & set(sys.modules), file=sys.stderr))
        sys.argv = ["estelam", "--help"]
        from estelam.cli import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env={**os.environ, **environ}
    )

    assert "promissory" in done.stdout
    assert "\n" == done.stderr


def test_group_help_is_listed() -> None:
    """Every group has the help that the root command lists it with."""
    root = root_command()

    for name in root.groups:
        command = root.load(name)
        assert name == command.name
        assert (root.commands[name].short_help or "").rstrip(".") in (command.help or "")
    assert set(OWN_GROUPS) < set(root.groups)


def test_completion_of_commands() -> None:
    """Group names, commands and the values of arguments complete."""
    assert ["ledger"] == complete("estelam", "led")
    assert {
        "acknowledge-restore",
        "archive",
        "checkpoint",
        "export-tiles",
        "loads",
        "prove",
        "recalls",
        "restores",
        "subject-report",
        "verify",
    } == set(complete("estelam", "ledger", ""))
    assert ["judiciary", "promissory"] == complete("estelam", "ledger", "verify", "")
    assert ["person", "serial", "tracking"] == complete("estelam", "ledger", "subject-report", "--kind", "")
    assert ["working-group"] == complete("estelam", "quality", "report", "--for", "w")


@pytest.mark.parametrize(
    ("command", "field"),
    [
        ("ledger verify --json", "service"),
        ("ledger verify --json --nothing", "--nothing"),
        ("nothing --json", None),
        ("ledger nothing --json", None),
        ("--nothing --json", "--nothing"),
        ("--json", "--json"),
        ("ledger verify promissory --json=x --json", "--json"),
    ],
)
def test_usage_error_json(command: str, field: str | None) -> None:
    """A wrong command line with --json exits 2 and prints the JSON error, with the name of the option or argument."""
    done = estelam(*command.split())
    error = json.loads(done.stdout)

    assert (2, "") == (done.returncode, done.stderr)
    assert ["error", "reason", "layer", "address", "fields"] == list(error)
    assert [field] * bool(field) == [found["field"] for found in error["fields"]]
