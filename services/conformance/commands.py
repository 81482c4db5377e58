"""Commands of `estelam conformance`: test an implementation, list the cases, and write the fixtures."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from conformance import case_loader, fixtures, known_failures, runner
from conformance.case import Case, Instance
from conformance.reports import html, junit, signed_json, terminal
from conformance.results import RunResult
from conformance.target import Target
from estelam.cli import output
from estelam.core.exceptions import describe_error

EXIT_CONFORMS = 0
EXIT_FAILS = 10
EXIT_COULD_NOT_RUN = output.EXIT_UNAVAILABLE
EXIT_USAGE = 2

_ADDRESS = re.compile(r"([^\s:]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


def run(
    pki: Path,
    promissory: str | None,
    judiciary: str | None,
    setad: str | None,
    instance: list[str] | None,
    steering: Path | None,
    only: list[str] | None,
    junit_file: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    known_failing: Path | None,
    jobs: int,
    *,
    force: bool,
) -> None:
    """Test a target, write the reports, and exit."""
    signature = signed_json.signature_path(json_file) if json_file else None
    reports = [("--junit", junit_file), ("--json", json_file), ("--json", signature), ("--html", html_file)]
    _check_reports(reports, force=force)
    addresses = _addresses({"promissory": promissory, "judiciary": judiciary, "setad": setad}, instance or ())
    target = Target(addresses, pki, steering)
    cases, chosen = _cases(only or ())
    scoped = in_scope(chosen, target)
    if not scoped:
        _exit_usage("no case tests the services given; see: estelam conformance list")
    excused = _known(known_failing, cases)
    with _usage_errors():
        target.validate()
    with terminal.Progress(output.err) as progress:
        progress.total(len(scoped))
        result = runner.run(scoped, target, jobs=jobs, progress=progress.done, known=excused)
    result = replace(result, left_out=len(cases) - len(scoped))
    terminal.show(result, output.out)
    try:
        if junit_file:
            junit.write(junit_file, result)
        if json_file:
            signed_json.write(json_file, result, pki)
        if html_file:
            html.write(html_file, result)
    except (OSError, signed_json.SignatureError) as error:
        _exit_usage(f"a report could not be written: {describe_error(error)}")
    raise typer.Exit(exit_code(result))


def list_cases(only: list[str] | None, *, as_json: bool) -> None:
    """Print the cases: id, clause, target and title."""
    _, chosen = _cases(only or ())
    columns = ["case", "clause", "target", "title_en", "title_fa"]
    rows = [[case.id, case.clause, case.target.value, case.title.en, case.title.fa] for case in chosen]
    output.print_rows(columns, rows, as_json=as_json)


def write_fixtures(folder: Path, host: list[str] | None) -> None:
    """Write the fixtures of a target into *folder*."""
    with output.user_errors(as_json=False):
        fixtures.write(folder, hosts=tuple(host or ()))
    output.print_record({"written_to": folder, "read_first": folder / "README.md"}, as_json=False)


def in_scope(cases: Sequence[Case], target: Target) -> list[Case]:
    """Return the cases whose services all have an instance."""
    given = {instance.service for instance in target.addresses}
    return [case for case in cases if given >= {(step.target or case.target).service for step in case.steps}]


def exit_code(result: RunResult) -> int:
    """Return the exit code of the run command."""
    if result.error:
        return EXIT_COULD_NOT_RUN
    return EXIT_CONFORMS if result.conforms else EXIT_FAILS


def _addresses(services: dict[str, str | None], others: Sequence[str]) -> dict[Instance, str]:
    given = {Instance(name): address for name, address in services.items() if address is not None}
    for other in others:
        role, _, address = other.partition("=")
        if role not in set(Instance):
            _exit_usage(f"--instance {other}: give ROLE=HOST:PORT with a role of {', '.join(Instance)}")
        given[Instance(role)] = address
    if not given:
        _exit_usage("give at least one of --promissory, --judiciary and --setad")
    for address in given.values():
        found = _ADDRESS.fullmatch(address)
        if found is None or not 0 < int(found[2]) < 65536:
            _exit_usage(f"{address}: give HOST:PORT")
    return given


def _cases(only: Sequence[str]) -> tuple[list[Case], list[Case]]:
    """Return all cases, and the selected ones."""
    with _usage_errors():
        cases = case_loader.read()
        return cases, case_loader.select(cases, only)
    raise AssertionError  # the block returns or exits


def _known(path: Path | None, cases: Sequence[Case]) -> set[str]:
    if path is None:
        return set()
    with _usage_errors():
        excused = set(known_failures.read(path))
    if unknown := excused - {case.id for case in cases}:
        _exit_usage(f"{path}: there is no case {min(unknown)}; see: estelam conformance list")
    return excused


def _check_reports(files: Sequence[tuple[str, Path | None]], *, force: bool) -> None:
    with _usage_errors():
        for option, path in files:
            if path:
                output.check_writable(path, option, force=force)


def _usage_errors() -> contextlib.AbstractContextManager[None]:
    return output.user_errors(as_json=False, code=EXIT_USAGE)


def _exit_usage(message: str) -> NoReturn:
    output.exit_error(message, as_json=False, code=EXIT_USAGE)
