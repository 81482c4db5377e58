"""Commands that are declared apart from their implementation."""

import inspect
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer

from conformance import case_loader, completion
from conformance.case import Instance
from estelam.cli.deferred import MODULE, implementation
from estelam.cli.root import all_commands, root_command
from estelam.cli.serve import service_errors
from estelam.core.exceptions import ServerError

ROOT = Path(__file__).parents[3]
COMMANDS = all_commands(root_command())
GROUPS = sorted({words.partition(" ")[0] for words in COMMANDS} | {"quality outage"})
BY_MODULE = packages_distributions()
LIGHT = {"typer", "persiantools", "pydantic", "pyyaml", "tzdata"}
"""Dependencies that a declaration or a completion may import; pydantic is imported by typer."""
REPORT = """if True:
    import atexit, sys
    atexit.register(lambda: print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr))
    sys.argv = ["estelam", *sys.argv[1:]]
    from estelam.cli import main
    main()
"""
EACH = """if True:
    import json, os, sys, tempfile
    from estelam.cli import main, root
    for arguments, environ in json.load(sys.stdin):
        with tempfile.TemporaryFile("w+") as output:
            if not (child := os.fork()):
                os.dup2(output.fileno(), 1)
                sys.argv = ["estelam", *arguments]
                os.environ.update(environ)
                try:
                    main()
                finally:
                    print("\\0", *sorted({name.partition(".")[0] for name in sys.modules}), flush=True)
                    os._exit(0)
            os.waitpid(child, 0)
            output.seek(0)
            print(json.dumps(output.read().split("\\0")))
"""
"""Runs each command line in a fork of a process that has imported what every command does."""

Line = tuple[list[str], dict[str, str]]
"""The arguments and environment variables of a run of `estelam`."""


def completing(words: str) -> Line:
    """The run that completes *words*."""
    return [], {
        "_ESTELAM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }


def run(lines: Sequence[Line]) -> list[tuple[str, set[str]]]:
    """Return what each run prints, and the dependencies of the project that it imported, except the light ones."""
    command = [sys.executable, "-c", EACH]
    done = subprocess.run(
        command, input=json.dumps(lines), capture_output=True, text=True, check=True, timeout=120, cwd=ROOT
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(found), done.stderr
    return [(printed, heavy(modules)) for printed, modules in found]


def heavy(modules: str) -> set[str]:
    """Return the dependencies of the project among imported *modules*, except the light ones."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = {
        requirement.partition(">")[0].partition("[")[0]
        for requirement in (*project["dependencies"], *extras["conformance"])
    }
    imported = {name.lower() for module in modules.split() for name in BY_MODULE.get(module, ())}
    assert "typer" in imported
    return (imported & declared) - LIGHT


def test_help_imports_little() -> None:
    """The help of a group, and the completion of its commands, import no library that the commands work with."""
    helps = run([([*name.split(), "--help"], {}) for name in GROUPS])
    completions = run([completing(f"estelam {name} ") for name in GROUPS])

    assert [] == [name for name, (printed, _) in zip(GROUPS, helps, strict=True) if "Usage" not in printed]
    assert {} == {name: found for name, (_, found) in zip(GROUPS, helps, strict=True) if found}
    assert {} == {name: found for name, (_, found) in zip(GROUPS, completions, strict=True) if found}


@pytest.mark.parametrize("service", ["judiciary", "promissory"])
def test_a_load_imports_no_ledger(service: str) -> None:
    """A load of a few changes takes hardly longer than its start, so it imports nothing of ledger, calls and logs."""
    report = f"import sys, {service}.loading; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)

    assert "estelam.loading.load" in (imported := set(done.stdout.split()))
    assert not imported & {"estelam.ledger", "estelam.pipeline", "estelam.receipts", "grpc", "structlog"}


COMPLETIONS = {
    "estelam ledger ver": "verify",
    "estelam ledger subject-report --ki": "--kind",
    "estelam migrate jud": "judiciary",
    "estelam migrate qua": "quality",
    "estelam catalogue show promissory-note": "promissory-note-inquiry",
    "estelam catalogue explain --method promissory": "promissory-note-inquiry/CheckNote",
    "estelam judiciary recall --format c": "csv",
    "estelam judiciary bulk-check-cheques --pa": "--patience",
    "estelam quality report --month 1": "",
    "estelam quality outage announce --service promissory": "promissory-note-inquiry",
    "estelam conformance run --only R3.1.": "R3.1.1",
    "estelam setad verify --a": "--agency",
}
"""Command lines, and a value that completes each."""


def test_completion_imports_little() -> None:
    """The completion of names, options and values imports no library that the commands work with."""
    found = dict(zip(COMPLETIONS, run([completing(words) for words in COMPLETIONS]), strict=True))

    assert [] == [words for words, (printed, _) in found.items() if COMPLETIONS[words] not in printed]
    assert [] == [words for words, (printed, _) in found.items() if not printed.strip()]
    assert {} == {words: imported for words, (_, imported) in found.items() if imported}


@pytest.mark.parametrize("words", COMMANDS)
def test_signatures_agree(words: str) -> None:
    """A command's declaration and its implementation have the same parameters, of the same types."""
    declared = COMMANDS[words].callback
    function = implementation(declared)
    wanted = inspect.signature(function, eval_str=True).parameters
    given = {name: kind for name, kind in get_type_hints(_declaration(declared)).items() if name != "return"}

    assert given == {name: wanted[name].annotation for name in given}
    assert {name for name, found in wanted.items() if found.default is inspect.Parameter.empty} <= set(given)


def _declaration(callback: Any) -> Any:
    """Return the function that carries the declaration: the innermost one."""
    return inspect.unwrap(callback)


def test_declarations_have_no_body() -> None:
    """Every command of the command line names the module of its implementation."""
    assert [] == [words for words, command in COMMANDS.items() if MODULE not in vars(command.callback)]


def test_conformance_values() -> None:
    """The completion of the conformance kit offers names that select every case and its clause, and no other name."""
    cases, names = case_loader.read(), completion.case_names()

    assert {case.clause for case in cases} <= set(names)
    assert all(case.id in names or case.id.rpartition(".")[0] in names for case in cases)
    assert all(case_loader.select(cases, [name]) for name in names)
    assert completion.roles() == [f"{role}=" for role in Instance]


@pytest.mark.parametrize(
    ("arguments", "verbosity"), [(("catalogue", "show", "serve"), "NONE"), (("promissory", "serve"), "None")]
)
def test_grpc_log_lines(tmp_path: Path, arguments: tuple[str, ...], verbosity: str) -> None:
    """The log lines of gRPC are off in every command but `serve`, whatever its arguments are called."""
    script = REPORT.replace("print(*sorted", "print(__import__('os').environ.get('GRPC_VERBOSITY'), *sorted")
    environ = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**environ, "ESTELAM_CONFIG": str(tmp_path / "none.toml")},
    )

    assert 1 == done.returncode
    assert verbosity == done.stderr.splitlines()[-1].split()[0]


def test_unexpected_error_of_service(capsys: pytest.CaptureFixture[str]) -> None:
    """A service that ends with an unexpected error prints its stack trace, with an expected one a line."""
    with pytest.raises(typer.Exit) as unexpected, service_errors(as_json=False):
        raise ZeroDivisionError
    trace = capsys.readouterr().err
    with pytest.raises(typer.Exit) as known, service_errors(as_json=False):
        raise ServerError("the port is taken")

    assert [1, 1] == [unexpected.value.exit_code, known.value.exit_code]
    assert "Traceback" in trace
    assert "the port is taken\n" == capsys.readouterr().err
