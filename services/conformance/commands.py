"""Commands of `estelam conformance`: test an implementation, list the cases, and write the fixtures."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from conformance import case_loader, fixtures, known_failures, runner
from conformance.case import Case, Instance
from conformance.reports import html, junit, signed_json, terminal
from conformance.results import RunResult
from conformance.target import Target
from estelam.cli import output
from estelam.core.addresses import check_target
from estelam.core.exceptions import UsageError, describe_error

EXIT_CONFORMS = 0
EXIT_FAILS = 10
EXIT_COULD_NOT_RUN = output.EXIT_UNAVAILABLE


def run(
    pki: Path,
    promissory: str | None,
    judiciary: str | None,
    setad: str | None,
    instance: list[str] | None,
    steering: Path | None,
    only: list[str] | None,
    junit_file: Path | None,
    report_json: Path | None,
    html_file: Path | None,
    known_failing: Path | None,
    jobs: int,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Test a target, write the reports, print one, and exit."""
    with _usage_errors(as_json=as_json):
        signature = signed_json.signature_path(report_json) if report_json else None
        for option, path in (
            ("--junit", junit_file),
            ("--report-json", report_json),
            ("--report-json", signature),
            ("--html", html_file),
        ):
            if path:
                output.check_writable(path, option, force=force)
        addresses = _addresses({"promissory": promissory, "judiciary": judiciary, "setad": setad}, instance or ())
        target = Target(addresses, pki, steering)
        cases = case_loader.read()
        scoped = in_scope(case_loader.select(cases, only or ()), target)
        if not scoped:
            raise UsageError("no case tests the services given; see: estelam conformance list")
        excused = _known(known_failing, cases)
        target.validate()
    with terminal.Progress(output.err) as progress:
        progress.total(len(scoped))
        result = runner.run(scoped, target, jobs=jobs, progress=progress.done, known=excused)
    result = replace(result, left_out=len(cases) - len(scoped))
    if not as_json:
        terminal.show(result, output.out)
    try:
        if junit_file:
            junit.write(junit_file, result)
        if report_json:
            signed_json.write(report_json, result, pki)
        if html_file:
            html.write(html_file, result)
    except (OSError, signed_json.SignatureError) as error:
        message = f"a report could not be written: {describe_error(error)}"
        output.exit_error(
            message, as_json=as_json, code=output.EXIT_USAGE, more={"report": signed_json.report_content(result)}
        )
    if as_json:
        output.print_record(signed_json.report_content(result), as_json=True)
    raise typer.Exit(exit_code(result))


def list_cases(only: list[str] | None, *, as_json: bool) -> None:
    """Print the cases: id, clause, target and title."""
    with _usage_errors(as_json=as_json):
        chosen = case_loader.select(case_loader.read(), only or ())
    columns = ["case", "clause", "target", "title_en", "title_fa"]
    rows = [[case.id, case.clause, case.target.value, case.title.en, case.title.fa] for case in chosen]
    output.print_rows(columns, rows, as_json=as_json)


def write_fixtures(folder: Path, host: list[str] | None, *, force: bool, as_json: bool) -> None:
    """Write the fixtures of a target into *folder*."""
    with output.user_errors(as_json=as_json):
        output.check_new_folder(folder, "DIR", force=force)
        fixtures.write(folder, hosts=tuple(host or ()))
    output.print_record({"written_to": folder, "read_first": folder / "README.md"}, as_json=as_json)


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
            raise UsageError(f"--instance {other}: give ROLE=HOST:PORT with a role of {', '.join(Instance)}")
        given[Instance(role)] = address
    if not given:
        raise UsageError("give at least one of --promissory, --judiciary and --setad")
    for address in given.values():
        try:
            check_target(address)
        except ValueError as error:
            raise UsageError(f"{address}: {error}") from None
    return given


def _known(path: Path | None, cases: Sequence[Case]) -> set[str]:
    if path is None:
        return set()
    excused = set(known_failures.read(path))
    if unknown := excused - {case.id for case in cases}:
        raise UsageError(f"{path}: there is no case {min(unknown)}; see: estelam conformance list")
    return excused


def _usage_errors(*, as_json: bool) -> contextlib.AbstractContextManager[None]:
    return output.user_errors(as_json=as_json, code=output.EXIT_USAGE)
